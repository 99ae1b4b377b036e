"""
5. Lo que ven las capas
=======================

Ya tenemos las tres piezas: convolución, ReLU y pooling. Una red convolucional las repite. Aquí miramos qué hace cada capa con
una fotografía de verdad, primero con filtros al azar y después con filtros aprendidos.
"""

# %%
# Una red sin entrenar
# --------------------
import matplotlib.pyplot as plt
import numpy as np
from skimage import color, data

from cnnfast import Sequential, layers, visualize


def ojo(forma):
    """Tres convoluciones, cada una sobre mapas la mitad de grandes que la anterior."""
    return [
        layers.Input(forma),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
    ]


gata = color.rgb2gray(data.chelsea())[:296, 70:366, None].astype(np.float32)
sin_entrenar = Sequential(ojo(gata.shape), seed=5)
figura = plt.figure(figsize=(11, 7.5), layout="constrained")
mapas = visualize.feature_maps(sin_entrenar, gata, figure=figura, lang="es")
for nombre, mapa in mapas.items():
    print(f"{nombre:16} {mapa.shape}")

# sphinx_gallery_thumbnail_number = 4

# %%
# De arriba abajo, los mapas son cada vez más pequeños y más numerosos: la última fila tiene 37 × 37 puntos, y la gata todavía
# se reconoce. El tamaño de cada capa, dibujado, y lo que cuesta:
figura = plt.figure(figsize=(9, 4.5), layout="constrained")
for capa in visualize.architecture(sin_entrenar, figure=figura, lang="es"):
    print(f"{capa.name:16} {capa.parameters:5} números que aprender, {capa.multiplications:8} multiplicaciones")

# %%
# Enseñarle algo
# --------------
# Con filtros al azar los mapas no buscan nada concreto. Vamos a enseñarle a distinguir tres texturas: ladrillo, hierba y
# grava. Los ejemplos son recortes de 32 × 32 de tres fotos; los de prueba salen de una mitad de la foto que la red no ve.
# ``GlobalAveragePooling2D`` resume cada mapa en su media, y ``Dense`` decide con esos números; de ella trata la próxima
# lección.
texturas = {"ladrillo": data.brick(), "hierba": data.grass(), "grava": data.gravel()}
azar = np.random.default_rng(0)


def recortes(cuantos, columnas):
    """Recortes al azar de las tres fotos, y de qué textura es cada uno."""
    imagenes, clases = [], []
    for clase, foto in enumerate(texturas.values()):
        for _ in range(cuantos):
            y, x = azar.integers(0, 480), azar.integers(columnas.start, columnas.stop - 32)
            imagenes.append(foto[y : y + 32, x : x + 32, None] / np.float32(255))
            clases.append(clase)
    return np.stack(imagenes), np.array(clases)


x_ver, y_ver = recortes(200, range(256))
x_prueba, y_prueba = recortes(50, range(256, 512))

final = [layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
red = Sequential([*ojo((32, 32, 1)), *final], seed=5)
red.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
red.fit(x_ver, y_ver, epochs=25, batch_size=32, verbose=0)
aciertos = red.evaluate(x_prueba, y_prueba, verbose=0, return_dict=True)["accuracy"]
print(f"acierta el {aciertos:.0%} de los recortes que no había visto")

# %%
# Lo aprendido, sobre la foto
# ---------------------------
# Una convolución sirve para cualquier tamaño, así que los filtros aprendidos con recortes de 32 × 32 se pueden pasar a una red
# que mira la gata entera. De la tercera convolución elegimos los cuatro mapas que menos se parecen entre sí, antes y después de
# aprender.
entrenada = Sequential(ojo(gata.shape))
entrenada.set_weights(red.get_weights()[:6])
mapas_aprendidos = visualize.feature_maps(entrenada, gata)



def distintos(mapas, cuantos=4):
    """Los mapas que menos se parecen entre sí, de los que no están apagados."""
    mapas = mapas[4:-4, 4:-4]  # sin el marco, que es de los ceros de alrededor
    vivos = np.flatnonzero(mapas.std((0, 1)) > 0.1 * mapas.std())
    parecido = abs(np.corrcoef(mapas[..., vivos].reshape(-1, len(vivos)).T))
    elegidos = [0]
    while len(elegidos) < cuantos:
        elegidos.append(parecido[elegidos].max(0).argmin())
    return vivos[elegidos]


figura, paneles = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
for fila, titulo, vistos in zip(paneles, ["al azar", "aprendidos"], [mapas, mapas_aprendidos]):
    fila[0].imshow(gata[..., 0], cmap="gray")
    fila[0].set_title(titulo)
    tercera = vistos["conv2d_2"]
    for ejes, canal in zip(fila[1:], distintos(tercera)):
        ejes.imshow(tercera[4:-4, 4:-4, canal], cmap="inferno")
        ejes.set_title(f"mapa {canal}")
for ejes in paneles.flat:
    ejes.set_axis_off()

# %%
# Al azar, cada mapa es una variación de la foto entera. Entre los aprendidos los hay que se han vuelto selectivos: apagados en
# grandes zonas, solo responden donde algo se parece a lo que les sirvió para distinguir las texturas.
#
# ¿Dónde lo ha visto?
# -------------------
# Pegamos las tres texturas en una sola foto y preguntamos, para cada clase, en qué zona la ve. Se llama *Grad-CAM*: colorea los
# sitios de la última convolución que más empujan la respuesta hacia esa clase.
collage = np.concatenate([foto[:256, 256:426] for foto in texturas.values()], axis=1)
collage = collage[..., None] / np.float32(255)
final = [layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
mirando = Sequential([*ojo(collage.shape), *final])
mirando.set_weights(red.get_weights())

calor = [visualize.grad_cam(mirando, collage, clase) for clase in range(3)]
figura, paneles = plt.subplots(2, 2, figsize=(10, 5.4), layout="constrained")
paneles[0, 0].imshow(collage[..., 0], cmap="gray")
paneles[0, 0].set_title("ladrillo, hierba y grava")
for ejes, nombre, zona in zip(paneles.flat[1:], texturas, calor):
    ejes.imshow(collage[..., 0], cmap="gray")
    ejes.imshow(zona, cmap="inferno", alpha=0.6)
    ejes.set_title(f"dónde ve {nombre}")
for ejes in paneles.flat:
    ejes.set_axis_off()

tercios = np.array([[zona[:, 170 * i : 170 * (i + 1)].mean() for i in range(3)] for zona in calor])
print("calor medio de cada clase (filas) en cada tercio (columnas):")
print(tercios.round(2))

# %%
# El ladrillo y la hierba los ve sobre todo en su sitio. La grava la ve en su tercio y también en la hierba: las dos son muchas
# cosas pequeñas y revueltas, y con tan pocos ejemplos la red no las separa del todo. Un mapa así enseña más que un porcentaje.
