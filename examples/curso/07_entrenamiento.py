"""
7. Cómo aprende: hacia delante y hacia atrás
============================================

Aprender es ajustar los pesos para que la red se equivoque menos. Se repiten cuatro pasos: calcular la respuesta (*hacia
delante*), medir el error (*la pérdida*), averiguar qué culpa tiene cada peso (*hacia atrás*, o retropropagación) y mover cada
peso un poco en la dirección que reduce el error (*descenso de gradiente*).
"""

# %%
# Bajar una cuesta
# ----------------
# Empecemos con un solo peso. La pérdida es una curva, su pendiente dice hacia dónde sube, y nosotros caminamos al revés. El
# tamaño del paso es la *tasa de aprendizaje*.
import matplotlib.pyplot as plt
import numpy as np

from cnnfast import Sequential, datasets, layers, ops, visualize


def perdida(peso):
    return (peso - 2) ** 2 + 1


def pendiente(peso):
    return 2 * (peso - 2)


def caminar(tasa, pasos=12, peso=-1.0):
    recorrido = [peso]
    for _ in range(pasos):
        recorrido.append(recorrido[-1] - tasa * pendiente(recorrido[-1]))
    return np.array(recorrido)


caminos = {tasa: caminar(tasa) for tasa in (0.02, 0.2, 0.95)}
curva = np.linspace(-1.5, 5.5, 100)
figura, paneles = plt.subplots(1, 3, figsize=(11, 2.8), layout="constrained", sharey=True)
for ejes, (tasa, recorrido) in zip(paneles, caminos.items()):
    ejes.plot(curva, perdida(curva), color="gray")
    ejes.plot(recorrido, perdida(recorrido), "o-", color="tab:red", markersize=4)
    ejes.set_title(f"tasa {tasa}")
    ejes.set_xlabel("peso")
paneles[0].set_ylabel("pérdida")

# %%
# Con pasos pequeños se tarda, con pasos grandes se salta de un lado a otro del valle.
#
# Hacia delante y hacia atrás, a mano
# -----------------------------------
# Una red minúscula: cuatro números, tres neuronas con ReLU, dos respuestas. Hacia delante son dos multiplicaciones, y al final
# la pérdida: la *entropía cruzada*, que castiga dar poca probabilidad a la respuesta correcta. Hacia atrás se recorre el mismo
# camino al revés: cada función tiene su gemela ``_backward``, que recibe la culpa de su salida y devuelve la de su entrada y la
# de sus pesos. Es la regla de la cadena, y nada más.
azar = np.random.default_rng(1)
x, correcta = azar.normal(size=(5, 4)), np.array([0, 1, 1, 0, 1])
w1, w2 = azar.normal(size=(4, 3)), azar.normal(size=(3, 2))


def adelante(w1, w2):
    """La pérdida media, y lo que hace falta para volver."""
    z = ops.dense(x, w1)
    a = ops.relu(z)
    perdidas, probabilidades = ops.softmax_cross_entropy(ops.dense(a, w2), correcta)
    return perdidas.mean(), z, a, probabilidades


error, z, a, probabilidades = adelante(w1, w2)
d_salida = ops.softmax_cross_entropy_backward(np.full(5, 1 / 5), probabilidades, correcta)
d_w2 = ops.dense_backward_weight(a, d_salida)
d_a = ops.dense_backward_input(d_salida, w2)
d_w1 = ops.dense_backward_weight(x, ops.relu_backward(d_a, z))
print(f"pérdida: {error:.4f}")
print("culpa de cada peso de la primera capa:")
print(d_w1.round(3))

# %%
# ¿Es verdad? Se comprueba moviendo un peso muy poco y viendo cuánto cambia la pérdida.
paso = 1e-6
movido = w1.copy()
movido[0, 0] += paso
medida = (adelante(movido, w2)[0] - error) / paso
print(f"retropropagación: {d_w1[0, 0]:.6f}   medido: {medida:.6f}")

# %%
# Y si damos un paso cuesta abajo, la pérdida baja:
despues = adelante(w1 - 0.5 * d_w1, w2 - 0.5 * d_w2)[0]
print(f"pérdida antes: {error:.4f}   después de un paso: {despues:.4f}")

# %%
# Entrenar de verdad
# ------------------
# ``compile`` elige cómo se aprende: ``"adam"`` es un descenso de gradiente que ajusta solo el tamaño de sus pasos, la pérdida es
# la entropía cruzada de antes, y ``"accuracy"`` es la parte de aciertos. ``fit`` (*ajustar*) hace lo mismo que acabamos de hacer
# a mano, con lotes de 32 dígitos y muchas veces. Cada pasada por todos los datos se llama *época*. Una parte de los datos
# se guarda para *validar*: la red no aprende de ellos, así que dicen si ha entendido o si solo ha memorizado. Después,
# ``predict`` (*predecir*) da las respuestas de la red y ``evaluate`` (*evaluar*) cuenta los aciertos.
(x_ver, y_ver), (x_prueba, y_prueba) = datasets.load_digits()
x_ver, x_prueba = (imagenes[..., None].astype(np.float32) / 255 for imagenes in (x_ver, x_prueba))

red = Sequential([
    layers.Input((8, 8, 1)),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(2),
    layers.Conv2D(64, 3, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dense(10, activation="softmax"),
], seed=0)  # fmt: skip
red.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
historia = red.fit(
    x_ver, y_ver, epochs=15, batch_size=32, validation_data=(x_prueba, y_prueba), verbose=0
)
aciertos = historia.history["val_accuracy"][-1]
print(f"acierta el {aciertos:.1%} de los dígitos que no había visto")

figura = plt.figure(figsize=(9, 3.2), layout="constrained")
visualize.training_curves(historia, figure=figura, lang="es")

# %%
# En qué se equivoca
# ------------------
# La *matriz de confusión* cuenta, para cada dígito verdadero (fila), qué ha respondido la red (columna). Lo bueno está en la
# diagonal.
probabilidades = red.predict(x_prueba, verbose=0)
figura = plt.figure(figsize=(5.5, 5), layout="constrained")
cuentas = visualize.confusion_matrix(y_prueba, probabilidades, figure=figura, lang="es")

# %%
# Cinco de los que falla. Algunos también nos harían dudar a nosotros.
fallos = np.flatnonzero(probabilidades.argmax(1) != y_prueba)[:5]
figura, paneles = plt.subplots(1, 5, figsize=(9, 2.3), layout="constrained")
for ejes in paneles:
    ejes.set_axis_off()
for ejes, i in zip(paneles, fallos):
    ejes.imshow(x_prueba[i, :, :, 0], cmap="gray")
    ejes.set_title(f"es {y_prueba[i]}, dice {probabilidades[i].argmax()}")

# %%
# Memorizar no es aprender
# ------------------------
# Con solo cuarenta ejemplos la red se los aprende de memoria: acierta todos los suyos y bastantes menos de los demás. Se llama
# *sobreajuste*. Se combate con más datos, o variando los que hay, o con *Dropout*, que apaga neuronas al azar mientras aprende.
memoriosa = Sequential([
    layers.Input((8, 8, 1)),
    layers.Flatten(),
    layers.Dense(64, activation="relu"),
    layers.Dense(10, activation="softmax"),
], seed=0)  # fmt: skip
memoriosa.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
memoriosa.fit(x_ver[:40], y_ver[:40], epochs=120, batch_size=20, verbose=0)
de_memoria = memoriosa.evaluate(x_ver[:40], y_ver[:40], verbose=0, return_dict=True)["accuracy"]
de_verdad = memoriosa.evaluate(x_prueba, y_prueba, verbose=0, return_dict=True)["accuracy"]
print(f"en sus 40 ejemplos: {de_memoria:.0%}; en los que no ha visto: {de_verdad:.0%}")
