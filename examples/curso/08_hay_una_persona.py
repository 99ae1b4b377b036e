"""
8. ¿Hay una persona en la imagen?
=================================

La pregunta final del curso tiene dos respuestas: sí o no. Una sola neurona con sigmoide basta: su salida es la probabilidad
de que haya una cara. Todo lo demás ya lo conocemos.
"""

# %%
# Los datos
# ---------
# Doscientas imágenes de 25 × 25 que vienen con scikit-image: cien caras y cien trozos de foto sin cara. Apartamos cincuenta
# para la prueba; la red no las verá nunca mientras aprende.
import matplotlib.pyplot as plt
import numpy as np
from skimage import color, data, transform

from cnnfast import Sequential, layers, visualize

imagenes = data.lfw_subset().astype(np.float32)[..., None]
hay_cara = np.repeat([1, 0], 100)
orden = np.random.default_rng(0).permutation(200)
para_ver, para_probar = orden[:150], orden[150:]

muestra = np.concatenate([imagenes[:12], imagenes[100:112]])
figura, ejes = plt.subplots(figsize=(9, 2), layout="constrained")
ejes.imshow(visualize.mosaic(muestra, columns=12, fill=1)[..., 0], cmap="gray")
ejes.set_title("arriba, caras; abajo, lo que no lo es")
ejes.set_axis_off()

# sphinx_gallery_thumbnail_number = 4

# %%
# La red
# ------
# ``RandomFlip`` da la vuelta a las imágenes al azar mientras aprende, como en un espejo: una cara sigue siendo una cara, y así
# hay más variedad. ``Dropout`` apaga neuronas al azar para que ninguna se haga imprescindible.
red = Sequential([
    layers.Input((25, 25, 1)),
    layers.RandomFlip("horizontal"),
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(2),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(2),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dropout(0.4),
    layers.Dense(1, activation="sigmoid"),
], seed=1, class_names=["no hay cara", "hay cara"])  # fmt: skip
red.summary()

# %%
# La pérdida para dos respuestas es la *entropía cruzada binaria*: castiga más cuanto más segura estaba la red de lo que no era.
red.compile("adam", "binary_crossentropy", metrics=["accuracy"])
historia = red.fit(imagenes[para_ver], hay_cara[para_ver], epochs=25, batch_size=16, verbose=0,
                   validation_data=(imagenes[para_probar], hay_cara[para_probar]))  # fmt: skip
figura = plt.figure(figsize=(9, 3.2), layout="constrained")
visualize.training_curves(historia, figure=figura, lang="es")

aciertos = historia.history["val_accuracy"][-1]
print(f"acierta el {aciertos:.0%} de las 50 imágenes de prueba")

# %%
# ¿En qué se fija?
# ----------------
# Tapamos la cara por trozos, con un cuadrado gris de 5 × 5, y miramos cuánto baja la respuesta. Donde más baja, más importa.
caras = [i for i in para_probar if hay_cara[i]][:4]
figura, paneles = plt.subplots(2, 4, figsize=(8, 4), layout="constrained")
for columna, i in zip(paneles.T, caras):
    probabilidad = red.predict(imagenes[i : i + 1], verbose=0)[0, 0]
    baja = visualize.occlusion(red, imagenes[i], size=5, value=0.5)
    columna[0].imshow(imagenes[i, :, :, 0], cmap="gray")
    columna[0].set_title(f"cara: {probabilidad:.1%}")
    columna[1].imshow(imagenes[i, :, :, 0], cmap="gray")
    columna[1].imshow(baja, cmap="inferno", alpha=0.6)
for ejes in paneles.flat:
    ejes.set_axis_off()

# %%
# Con una foto nueva
# ------------------
# La astronauta no estaba entre los datos. Recortamos su cara y otros tres trozos de la foto, los reducimos a 25 × 25 y
# preguntamos.
foto = color.rgb2gray(data.astronaut()).astype(np.float32)
trozos = {  # fila, columna y lado
    "la cara": (75, 180, 90),
    "el fondo": (20, 60, 90),
    "el cohete": (90, 380, 90),
    "la escafandra": (330, 300, 90),
}


def reducir(y, x, lado):
    """Un cuadrado de la foto, como lo toma la red."""
    cuadrado = foto[y : y + lado, x : x + lado]
    return transform.resize(cuadrado, (25, 25, 1), anti_aliasing=True).astype(np.float32)


lote = np.stack([reducir(*sitio) for sitio in trozos.values()])
respuestas = red.predict(lote, verbose=0)[:, 0]

figura, (izquierda, *paneles) = plt.subplots(
    1, 5, figsize=(11, 3), layout="constrained", width_ratios=[2, 1, 1, 1, 1]
)
izquierda.imshow(foto, cmap="gray")
izquierda.set_axis_off()
for ejes, nombre, trozo, respuesta in zip(paneles, trozos, lote, respuestas):
    fila, columna, lado = trozos[nombre]
    borde = "lime" if respuesta > 0.5 else "red"
    marco = plt.Rectangle((columna, fila), lado, lado, fill=False, color=borde, linewidth=2)
    izquierda.add_patch(marco)
    ejes.imshow(trozo[..., 0], cmap="gray")
    ejes.set_title(f"{nombre}\n{respuesta:.1%}", fontsize=10)
    ejes.set_axis_off()

# %%
# Lo que esta red no sabe
# -----------------------
# Ha visto cien caras de frente y cien trozos de foto. Si se le pregunta por un sitio cualquiera de una foto, con cosas que no
# se parecen a ninguno de los dos grupos, contestará igual de convencida, y a veces mal: una red solo sabe de lo que ha visto.
# Para buscar caras en una foto entera hacen falta muchos más ejemplos de lo que **no** es una cara. Así lo hace
# ``examples/find_the_face.py``.
