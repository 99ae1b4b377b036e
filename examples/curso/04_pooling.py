"""
4. Pooling: quedarse con lo importante
======================================

Después de una convolución hay muchos mapas, y son grandes. El *pooling* los encoge: parte cada mapa en casillas y se queda con
un solo número de cada una, normalmente el mayor. Se pierde el lugar exacto, pero se conserva lo que importa: «aquí, más o
menos, había algo».
"""

# %%
# Con números pequeños
# --------------------
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from cnnfast import filters, ops

mapa = np.array([[1, 3, 0, 2],
                 [4, 2, 1, 1],
                 [0, 1, 9, 5],
                 [2, 1, 6, 7]], np.float32)  # fmt: skip
maximo = ops.max_pool2d(mapa[None, :, :, None], 2)[0, :, :, 0]
media = ops.avg_pool2d(mapa[None, :, :, None], 2)[0, :, :, 0]

figura, paneles = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", width_ratios=[2, 1, 1])
colores = np.kron([[0, 1], [2, 3]], np.ones((2, 2)))
titulos = ["el mapa", "máximo de 2 × 2", "media de 2 × 2"]
for ejes, titulo, tabla in zip(paneles, titulos, [mapa, maximo, media]):
    ejes.imshow(colores if tabla is mapa else colores[::2, ::2], cmap="Pastel1", vmin=0, vmax=8)
    for fila, columna in np.ndindex(tabla.shape):
        ejes.text(columna, fila, f"{tabla[fila, columna]:g}", ha="center", va="center", fontsize=14)
    ejes.set_title(titulo)
    ejes.set_axis_off()

# sphinx_gallery_thumbnail_number = 2

# %%
# En una foto
# -----------
# Tomamos los bordes de la segunda lección y los encogemos tres veces seguidas. Cada vez hay cuatro veces menos números, y
# las monedas se siguen viendo.
foto = (data.coins() / 255).astype(np.float32)
bordes = np.hypot(filters.apply(foto, filters.SOBEL_X), filters.apply(foto, filters.SOBEL_Y))
bordes = bordes[1:-1, 1:-1]  # sin el marco: los ceros de alrededor de la foto también parecen un borde

pasos = [bordes[None, :, :, None]]
for _ in range(3):
    pasos.append(ops.max_pool2d(pasos[-1], 2))

figura, paneles = plt.subplots(1, 4, figsize=(12, 2.8), layout="constrained")
for ejes, paso in zip(paneles, pasos):
    ejes.imshow(paso[0, :, :, 0], cmap="inferno")
    ejes.set_title(f"{paso.shape[1]} × {paso.shape[2]}: {paso.size} números", fontsize=10)
    ejes.set_axis_off()

# %%
# El máximo y la media
# --------------------
# La media también encoge, pero diluye: un borde fino entre mucho fondo casi desaparece. El máximo lo conserva entero, y por eso
# es el más usado dentro de la red. La media se usa sobre todo al final, cuando se resume un mapa entero en un número.
por_maximo = ops.max_pool2d(pasos[0], 8)
por_media = ops.avg_pool2d(pasos[0], 8)

figura, paneles = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
mayor = float(bordes.max())
titulos = ["máximo de 8 × 8", "media de 8 × 8"]
for ejes, titulo, resultado in zip(paneles, titulos, [por_maximo, por_media]):
    imagen = ejes.imshow(resultado[0, :, :, 0], cmap="inferno", vmin=0, vmax=mayor)
    ejes.set_title(titulo)
    ejes.set_axis_off()
figura.colorbar(imagen, ax=paneles, shrink=0.8)

# %%
# Tolerancia a pequeños movimientos
# ---------------------------------
# Si la foto se mueve un píxel, casi todos los píxeles cambian. Después del pooling, muchos menos: el máximo de una casilla
# suele seguir dentro de ella. Así la red reconoce lo mismo aunque no esté exactamente en el mismo sitio.
movidos = np.roll(bordes, 1, axis=1)[None, :, :, None]


def diferencia(a, b):
    """Cuánto cambia, en relación con lo que hay."""
    return float(np.abs(a - b).mean() / a.mean())


cambio_antes = diferencia(pasos[0], movidos)
cambio_despues = diferencia(por_maximo, ops.max_pool2d(movidos, 8))
print(f"al mover la foto un píxel, los bordes cambian un {cambio_antes:.0%}")
print(f"después del pooling de 8 × 8, solo un {cambio_despues:.0%}")
