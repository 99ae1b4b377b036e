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
# Cada píxel vale entre 0 (negro) y 1 (blanco). Si ampliamos un trozo, se ven los números.
import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from cnnfast import filters, ops

foto = (data.camera() / 255).astype(np.float32)
trozo = foto[90:96, 216:222]

figura, (izquierda, derecha) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
izquierda.imshow(foto, cmap="gray")
izquierda.add_patch(plt.Rectangle((209, 83), 20, 20, fill=False, color="tab:red", linewidth=2))
izquierda.set_title(f"{foto.shape[0]} × {foto.shape[1]} píxeles")
derecha.imshow(trozo, cmap="gray", vmin=0, vmax=1)
for fila, columna in np.ndindex(trozo.shape):
    valor = trozo[fila, columna]
    derecha.text(columna, fila, f"{valor:.2f}", ha="center", va="center", color="black" if valor > 0.5 else "white")
derecha.set_title("6 × 6 de esos píxeles, dentro del recuadro")
for ejes in (izquierda, derecha):
    ejes.set_axis_off()

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
fila, columna = 93, 219
ventana = foto[fila - 1 : fila + 2, columna - 1 : columna + 2]
a_mano = (ventana * sobel).sum()
print(f"el píxel ({fila}, {columna}) vale {a_mano:.4f}")

# %%
# Hacer eso en todos los píxeles es una *convolución*. ``ops.conv2d`` trabaja con muchas fotos y muchos canales a la vez: la
# foto tiene cuatro dimensiones, (fotos, alto, ancho, canales), y el filtro otras cuatro, (alto, ancho, canales que entran,
# canales que salen). Aquí todos son uno.
mapa = ops.conv2d(foto[None, :, :, None], sobel[:, :, None, None], padding="same")[0, :, :, 0]
print(f"y en el mapa entero:      {mapa[fila, columna]:.4f}")

# %%
# Bordes en todas las direcciones
# -------------------------------
# Con el filtro tumbado se encuentran los bordes horizontales. Juntando los dos, como los catetos de un triángulo, se tiene la
# fuerza del borde en cualquier dirección.
vertical = filters.apply(foto, filters.SOBEL_X)
horizontal = filters.apply(foto, filters.SOBEL_Y)
fuerza = np.hypot(vertical, horizontal)

figura, paneles = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for ejes, (titulo, imagen) in zip(paneles, {"bordes verticales": vertical, "bordes horizontales": horizontal,
                                            "los dos juntos": fuerza}.items()):  # fmt: skip
    limite = 2 if imagen.min() < 0 else 4
    ejes.imshow(imagen, cmap="gray", vmin=-limite if imagen.min() < 0 else 0, vmax=limite)
    ejes.set_title(titulo)
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
figura, paneles = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained")
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
