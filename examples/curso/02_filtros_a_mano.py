"""
2. Filtros a mano
=================

Para un ordenador una fotografía es una tabla de números. Un *filtro* es otra tabla, muy pequeña, que se pasea por la
fotografía y en cada sitio hace la suma ponderada de la lección anterior. Antes de que las redes aprendieran sus filtros, los
escribía la gente. En esta lección hacemos lo mismo.
"""

# %%
# Una foto son números
# --------------------
# Cada píxel vale entre 0 (negro) y 1 (blanco). Si ampliamos un trozo, y después un trozo del trozo, se ven los números.
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from cnnfast import filters, ops

foto = (data.camera() / 255).astype(np.float32)
camara = foto[88:152, 228:292]  # 64 × 64 píxeles
trozo = foto[116:124, 266:274]  # 8 × 8

figura, (izquierda, centro, derecha) = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
izquierda.imshow(foto, cmap="gray")
izquierda.add_patch(plt.Rectangle((227.5, 87.5), 64, 64, fill=False, color="tab:red", linewidth=2))
izquierda.set_title(f"la foto: {foto.shape[0]} × {foto.shape[1]} píxeles")
centro.imshow(camara, cmap="gray", vmin=0, vmax=1)
centro.add_patch(plt.Rectangle((37.5, 27.5), 8, 8, fill=False, color="tab:red", linewidth=2))
centro.set_title("lo del recuadro: 64 × 64")
derecha.imshow(trozo, cmap="gray", vmin=0, vmax=1)
for (fila, columna), valor in np.ndenumerate(trozo):
    color = "black" if valor > 0.5 else "white"
    derecha.text(columna, fila, f"{valor:.2f}", ha="center", va="center", color=color)
derecha.set_title("lo del recuadro pequeño: 8 × 8")
for ejes in (izquierda, centro, derecha):
    ejes.set_axis_off()

# sphinx_gallery_thumbnail_number = 2

# %%
# Un filtro de Sobel
# ------------------
# Este filtro de 3 × 3 resta lo que hay a la izquierda de lo que hay a la derecha. En una zona lisa las dos mitades se anulan
# y sale cero; en un borde vertical sale un número grande.
sobel = np.array([[-1, 0, 1],
                  [-2, 0, 2],
                  [-1, 0, 1]], np.float32)  # fmt: skip

# %%
# Un píxel del resultado se calcula así: se pone el filtro encima de la foto, se multiplica casilla por casilla y se suma.
# Lo hacemos en el borde que se ve en el trozo de 8 × 8.
fila, columna = 120, 270
ventana = foto[fila - 1 : fila + 2, columna - 1 : columna + 2]
a_mano = (ventana * sobel).sum()
print(ventana.round(2))
print(f"el píxel ({fila}, {columna}) del resultado vale {a_mano:.4f}")

# %%
# Hacer eso en todos los píxeles es una *convolución*. Con ``padding="same"`` se supone que alrededor de la foto hay ceros, y
# así el resultado mide lo mismo que ella. ``ops.conv2d`` trabaja con muchas fotos y muchos canales a la vez: la
# foto tiene cuatro dimensiones, (fotos, alto, ancho, canales), y el filtro otras cuatro, (alto, ancho, canales que entran,
# canales que salen). Aquí todos son uno.
mapa = ops.conv2d(foto[None, :, :, None], sobel[:, :, None, None], padding="same")[0, :, :, 0]
print(f"y en el mapa entero, ese píxel vale {mapa[fila, columna]:.4f}")

# %%
# Bordes en todas las direcciones
# -------------------------------
# Con el filtro tumbado se encuentran los bordes horizontales. Juntando los dos, como los catetos de un triángulo, se tiene la
# fuerza del borde en cualquier dirección.
vertical = filters.apply(foto, filters.SOBEL_X)
horizontal = filters.apply(foto, filters.SOBEL_Y)
fuerza = np.hypot(vertical, horizontal)

figura, paneles = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
paneles[0].imshow(vertical, cmap="gray", vmin=-2, vmax=2)
paneles[0].set_title("bordes verticales")
paneles[1].imshow(horizontal, cmap="gray", vmin=-2, vmax=2)
paneles[1].set_title("bordes horizontales")
paneles[2].imshow(fuerza, cmap="gray", vmin=0, vmax=3)
paneles[2].set_title("los dos juntos")
for ejes in paneles:
    ejes.set_axis_off()

# %%
# En las dos primeras el gris medio es el cero: blanco significa «se aclara hacia la derecha (o hacia abajo)» y negro, lo
# contrario.
#
# Otros filtros clásicos
# ----------------------
# Cambiando los nueve números cambia lo que el filtro busca: desenfocar es promediar, y enfocar es exagerar la diferencia con
# los vecinos.
clasicos = {
    "desenfoque": filters.gaussian(sigma=3),
    "enfoque": filters.SHARPEN,
    "relieve": filters.EMBOSS,
    "laplaciana": filters.LAPLACIAN,
}
figura, paneles = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
for ejes, (nombre, filtro) in zip(paneles, clasicos.items()):
    resultado = filters.apply(foto, filtro)
    alto, ancho = filtro.shape
    if nombre == "laplaciana":
        ejes.imshow(resultado, cmap="gray", vmin=-0.5, vmax=0.5)
    else:
        ejes.imshow(resultado, cmap="gray", vmin=0, vmax=1)
    ejes.set_title(f"{nombre} ({alto} × {ancho})")
    ejes.set_axis_off()

# %%
# La idea de fondo: **el mismo filtro en toda la imagen**. Nueve números bastan para encontrar bordes en una foto de
# cualquier tamaño. Una red convolucional usa exactamente esta operación, con una sola diferencia: los números no los escribe
# nadie, los aprende.
