"""
6. Flatten y Dense: de los mapas a la respuesta
===============================================

Las convoluciones dejan un montón de mapas. Para responder hay que convertirlos en una decisión. Lo hacen las dos últimas
piezas: *Flatten* pone todos los números en fila, y *Dense* es una capa de neuronas como la de la primera lección, cada una
conectada con todos ellos.
"""

# %%
# Una fila de números
# -------------------
# Los datos son dígitos escritos a mano de 8 × 8 píxeles, que vienen con el paquete.
import matplotlib.pyplot as plt
import numpy as np

from cnnfast import Sequential, datasets, layers

(x, y), (x_prueba, y_prueba) = datasets.load_digits()
x, x_prueba = (imagenes[..., None].astype(np.float32) / 255 for imagenes in (x, x_prueba))

aplanar = Sequential([layers.Input((8, 8, 1)), layers.Flatten()])
fila = aplanar(x[:1])
print(f"de {x[0].shape} a {fila[0].shape}")

figura, (arriba, abajo) = plt.subplots(
    2, 1, figsize=(9, 3), layout="constrained", height_ratios=[4, 1]
)
arriba.imshow(x[0, :, :, 0], cmap="gray")
arriba.set_title(f"un {y[0]} de 8 × 8")
abajo.imshow(fila, cmap="gray", aspect="auto")
abajo.set_title("los mismos 64 números, en fila")
for ejes in (arriba, abajo):
    ejes.set_axis_off()

# sphinx_gallery_thumbnail_number = 2

# %%
# Diez neuronas, una por dígito
# -----------------------------
# La red más sencilla posible: Flatten y una capa Dense de diez neuronas. La activación del final es *softmax*, la prima de la
# sigmoide cuando hay más de dos respuestas: convierte diez números en diez probabilidades que suman 1. Los pesos empiezan en
# cero para que después se vea bien qué ha aprendido cada uno; con una sola capa se puede. ``compile`` y ``fit`` la entrenan, y
# la próxima lección cuenta cómo.
red = Sequential([
    layers.Input((8, 8, 1)),
    layers.Flatten(),
    layers.Dense(10, activation="softmax", kernel_initializer="zeros"),
], seed=0)  # fmt: skip
pesos, sesgos = red.get_weights()
print(f"pesos {pesos.shape} y sesgos {sesgos.shape}:", pesos.size + sesgos.size, "números que aprender")

red.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
red.fit(x, y, epochs=40, batch_size=32, verbose=0)
aciertos_dense = red.evaluate(x_prueba, y_prueba, verbose=0, return_dict=True)["accuracy"]
print(f"acierta el {aciertos_dense:.1%} de los dígitos de prueba")

# %%
# Lo que ha aprendido cada neurona
# --------------------------------
# Cada neurona tiene 64 pesos, uno por píxel: se pueden dibujar como una imagen. En rojo, los píxeles que suman a favor del
# dígito; en azul, los que restan; en blanco, los que dan igual, como los de las esquinas, donde nunca hay tinta. Son
# plantillas: la del 0, por ejemplo, rechaza la tinta en el centro.
plantillas = red.get_weights()[0].reshape(8, 8, 10)
limite = np.abs(plantillas).max()

figura, paneles = plt.subplots(2, 5, figsize=(9, 4), layout="constrained")
for digito, ejes in enumerate(paneles.flat):
    ejes.imshow(plantillas[..., digito], cmap="RdBu_r", vmin=-limite, vmax=limite)
    ejes.set_title(str(digito))
    ejes.set_axis_off()

# %%
# Con convoluciones delante
# -------------------------
# Las plantillas solo funcionan si el dígito está siempre en el mismo sitio. Con una convolución y un pooling delante, Dense ya
# no mira píxeles, sino «aquí hay un trazo así», y acierta más.
con_convolucion = Sequential([
    layers.Input((8, 8, 1)),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dense(10, activation="softmax"),
], seed=0)  # fmt: skip
con_convolucion.summary()  # capa, forma de lo que sale de ella, números que aprender
con_convolucion.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
con_convolucion.fit(x, y, epochs=20, batch_size=32, verbose=0)
medidas = con_convolucion.evaluate(x_prueba, y_prueba, verbose=0, return_dict=True)
aciertos_conv = medidas["accuracy"]
print(f"solo Dense: {aciertos_dense:.1%}; con convolución: {aciertos_conv:.1%}")

# %%
# Una respuesta, vista por dentro
# -------------------------------
# La salida son diez probabilidades. La red no dice «es un 5»: dice cuánto cree en cada uno.
probabilidades = con_convolucion.predict(x_prueba, verbose=0)
dudoso = int(probabilidades.max(1).argmin())

figura, (izquierda, derecha) = plt.subplots(
    1, 2, figsize=(8, 2.8), layout="constrained", width_ratios=[1, 2]
)
izquierda.imshow(x_prueba[dudoso, :, :, 0], cmap="gray")
izquierda.set_title(f"la más dudosa: es un {y_prueba[dudoso]}")
izquierda.set_axis_off()
derecha.bar(range(10), probabilidades[dudoso])
derecha.set_xticks(range(10))
derecha.set_ylim(0, 1)
derecha.set_xlabel("dígito")
derecha.set_title("lo que cree la red")
