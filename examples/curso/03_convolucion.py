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

from cnnfast import Sequential, layers, visualize

gata = data.chelsea() / np.float32(255)
gris = color.rgb2gray(gata)[..., None].astype(np.float32)

red = Sequential([layers.Input(gris.shape), layers.Conv2D(16, 3, padding="same", activation="relu")], seed=3)
capa = red.layers[0]
filtros = visualize.filters(capa, figure=plt.figure(figsize=(4.6, 2.6), layout="constrained"))
print("filtros:", filtros.shape, "= (cuántos, alto, ancho, canales)")

# %%
# Cada cuadrado es un filtro de 3 × 3. El gris medio es el cero, el blanco suma y el negro resta. Ninguno se parece del todo a
# los de Sobel, pero por azar algunos tienen un lado claro y otro oscuro, y esos ya encuentran bordes.
#
# Lo que ve cada filtro
# ---------------------
mapas = visualize.feature_maps(red, gris)["conv2d"]
print("mapas:", mapas.shape, "= (alto, ancho, filtros)")

figura, ejes = plt.subplots(figsize=(11, 4), layout="constrained")
ejes.imshow(visualize.mosaic(mapas.transpose(2, 0, 1)[..., None], columns=6, gap=8), cmap="gray")
ejes.set_axis_off()

# %%
# Los negros son filtros que restan más de lo que suman: ReLU los apaga casi por completo. Ampliamos tres de los otros. Son
# la misma gata, contada de tres maneras.
elegidos = np.argsort(-mapas.std((0, 1)))[[0, 2, 4]]
figura, paneles = plt.subplots(1, 4, figsize=(12, 2.3), layout="constrained")
paneles[0].imshow(gris[..., 0], cmap="gray")
paneles[0].set_title("la foto")
for ejes, i in zip(paneles[1:], elegidos):
    ejes.imshow(mapas[..., i], cmap="inferno")
    ejes.set_title(f"mapa del filtro {i}")
for ejes in paneles:
    ejes.set_axis_off()

# %%
# En color
# --------
# Una foto en color tiene tres canales. Entonces cada filtro tiene también tres capas, una por canal, y suma las tres: por cada
# filtro sale **un** mapa, no tres.
en_color = Sequential([layers.Input(gata.shape), layers.Conv2D(16, 3, padding="same")], seed=3)
nucleo, sesgo = en_color.get_weights()
print("pesos:", nucleo.shape, "= (alto, ancho, canales que entran, filtros)")
print("sesgos:", sesgo.shape)
print("números que aprender:", nucleo.size + sesgo.size, "= 3·3·3·16 + 16")

visualize.filters(en_color.layers[0], figure=plt.figure(figsize=(4.6, 2.6), layout="constrained"))

# %%
# Lo importante de esa cuenta es lo que **no** aparece en ella: el tamaño de la foto. Una capa que conectara cada píxel con cada
# píxel del resultado necesitaría muchísimo más.
pixeles = gata.shape[0] * gata.shape[1]
print(f"convolución: {nucleo.size + sesgo.size:,} números; todo con todo: {pixeles * 3 * pixeles * 16:,}")

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
    prueba = Sequential([layers.Input((28, 28, 1)), layers.Conv2D(8, 3, strides=paso, padding=relleno)])
    tamanos[relleno, paso] = prueba.output_shape[1:]
    print(f"padding={relleno!r:8} strides={paso}: de (28, 28, 1) a {prueba.output_shape[1:]}")

# %%
# El tamaño se calcula así: si la foto mide 28, el filtro 3 y el paso es 1, sin relleno caben 28 - 3 + 1 = 26 posiciones.
