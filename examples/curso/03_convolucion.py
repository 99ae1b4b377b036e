"""
3. La capa de convolución
=========================

Una capa de convolución tiene muchos filtros, no uno. Cada filtro produce su propio *mapa*: una imagen que dice dónde ha
encontrado lo que busca. Al principio los filtros son números al azar, porque la red todavía no sabe nada.
"""

# %%
# Dieciséis filtros al azar
# -------------------------
import matplotlib.pyplot as plt
import numpy as np
from skimage import color, data

from cnnfast import Sequential, layers, ops, visualize

gata = data.chelsea() / np.float32(255)
gris = color.rgb2gray(gata)[..., None].astype(np.float32)

red = Sequential([layers.Input(gris.shape), layers.Conv2D(16, 3, padding="same")], seed=3)
figura = plt.figure(figsize=(5.6, 2.9), layout="constrained")
filtros = visualize.filters(red.layers[0], figure=figura, lang="es")
print("filtros:", filtros.shape, "= (cuántos, alto, ancho, canales)")

# sphinx_gallery_thumbnail_number = 3

# %%
# Cada cuadrado es un filtro de 3 × 3. El gris medio es el cero, el blanco suma y el negro resta. Ninguno se parece del todo a
# los de Sobel, pero por azar algunos tienen un lado claro y otro oscuro, y esos ya encuentran bordes.
#
# Lo que ve cada filtro
# ---------------------
mapas = visualize.feature_maps(red, gris)["conv2d"]
print("mapas:", mapas.shape, "= (alto, ancho, filtros)")

menor, mayor = np.quantile(mapas, [0.005, 0.995], axis=(0, 1))
a_la_vista = ((mapas - menor) / (mayor - menor)).clip(0, 1)
figura, ejes = plt.subplots(figsize=(11, 3.9), layout="constrained")
mosaico = visualize.mosaic(a_la_vista.transpose(2, 0, 1)[..., None], columns=6, gap=8)
ejes.imshow(mosaico, cmap="gray")
ejes.set_axis_off()

# %%
# Cada mapa va de su valor menor, en negro, al mayor, en blanco. Los de filtros que suman más de lo que restan parecen la foto;
# los de filtros que restan más, su negativo; y donde las sumas y las restas se compensan solo quedan los bordes.
#
# Y después, ReLU
# ---------------
# Casi siempre la capa termina con una ReLU, que apaga lo negativo: ``Conv2D(16, 3, activation="relu")``. Tomamos un filtro de
# cada clase. Arriba, su mapa: en rojo lo positivo y en azul lo negativo. Abajo, lo que deja ReLU.
sumas = filtros.sum(axis=(1, 2, 3))
elegidos = {
    "suma más que resta": sumas.argmax(),
    "se compensan": abs(sumas).argmin(),
    "resta más que suma": sumas.argmin(),
}
figura, paneles = plt.subplots(2, 3, figsize=(10, 4.8), layout="constrained")
for (arriba, abajo), (titulo, i) in zip(paneles.T, elegidos.items()):
    limite = np.quantile(abs(mapas[..., i]), 0.99)
    arriba.imshow(mapas[..., i], cmap="RdBu_r", vmin=-limite, vmax=limite)
    arriba.set_title(f"filtro {i}: {titulo}")
    abajo.imshow(ops.relu(mapas[..., i]), cmap="gray", vmin=0, vmax=limite)
for ejes in paneles.flat:
    ejes.set_axis_off()

# %%
# Del primero queda todo y del tercero, nada: en esta foto no encuentra lo que busca. El del medio es el que más nos interesa,
# porque solo responde donde hay un borde, y de un lado. La misma gata, contada de tres maneras.
#
# En color
# --------
# Una foto en color tiene tres canales. Entonces cada filtro tiene también tres capas, una por canal, y suma las tres: por cada
# filtro sale **un** mapa, no tres.
en_color = Sequential([layers.Input(gata.shape), layers.Conv2D(16, 3, padding="same")], seed=3)
nucleo, sesgo = en_color.get_weights()
print("pesos:", nucleo.shape, "= (alto, ancho, canales que entran, filtros)")
print("sesgos:", sesgo.shape)
print("números que aprender:", nucleo.size + sesgo.size, "= 3·3·3·16 + 16")

figura = plt.figure(figsize=(5.6, 2.9), layout="constrained")
visualize.filters(en_color.layers[0], figure=figura, lang="es")

# %%
# Lo importante de esa cuenta es lo que **no** aparece en ella: el tamaño de la foto. Una capa que conectara cada píxel con cada
# píxel del resultado necesitaría muchísimo más.
pixeles = gata.shape[0] * gata.shape[1]
print(f"convolución: {nucleo.size + sesgo.size} números")
print(f"todo con todo: {pixeles * 3 * pixeles * 16:.1e} números")

# %%
# Relleno y paso
# --------------
# Dos ajustes deciden el tamaño del mapa:
#
# - ``padding="same"`` rodea la foto de ceros para que el mapa salga igual de grande; con ``"valid"`` el filtro no se asoma
#   fuera y se pierde el borde.
# - ``strides=2`` mueve el filtro de dos en dos píxeles: el mapa sale a la mitad.
tamanos = {}
for relleno, paso in [("same", 1), ("valid", 1), ("same", 2), ("valid", 2)]:
    capa = layers.Conv2D(8, 3, strides=paso, padding=relleno)
    prueba = Sequential([layers.Input((28, 28, 1)), capa])
    tamanos[relleno, paso] = prueba.output_shape[1:]
    print(f"padding={relleno!r:8} strides={paso}: de (28, 28, 1) a {prueba.output_shape[1:]}")

# %%
# El tamaño se calcula así: si la foto mide 28, el filtro 3 y el paso es 1, sin relleno caben 28 - 3 + 1 = 26 posiciones.
# Con paso 2 se usa una de cada dos: 13.
