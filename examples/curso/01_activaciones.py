"""
1. Funciones de activación
==========================

Una neurona artificial hace dos cosas: una suma y una pregunta. La suma junta los números que le llegan, cada uno
multiplicado por un *peso*, y añade un *sesgo*. La pregunta la hace la *función de activación*: con este total, ¿cuánto me
activo?
"""

# %%
# La neurona, a mano
# ------------------
# Tres entradas, tres pesos y un sesgo. No hay nada más: el resto del curso son muchas neuronas como esta.
import matplotlib.pyplot as plt
import numpy as np

from cnnfast import ops

entradas = np.array([0.5, -1.0, 2.0])
pesos = np.array([0.8, 0.2, -0.5])
sesgo = 0.3

total = entradas @ pesos + sesgo
print(f"total = 0.5·0.8 + (-1.0)·0.2 + 2.0·(-0.5) + 0.3 = {total:.2f}")

# %%
# ReLU y sigmoide
# ---------------
# Las dos preguntas más usadas son:
#
# - **ReLU**: «¿es positivo? Entonces, tal cual; si no, cero». Es la de casi todas las capas, porque es barata y porque,
#   donde está encendida, deja pasar la señal sin cambiarla.
# - **Sigmoide**: convierte cualquier número en otro entre 0 y 1. Se usa al final, cuando la respuesta es una probabilidad.
x = np.linspace(-6, 6, 241)

figura, (izquierda, derecha) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
izquierda.plot(x, ops.relu(x), color="tab:blue")
izquierda.set_title("ReLU: max(0, x)")
derecha.plot(x, ops.sigmoid(x), color="tab:orange")
derecha.axhline(0.5, color="gray", linewidth=0.5)
derecha.set_title("Sigmoide: 1 / (1 + e⁻ˣ)")
for ejes in (izquierda, derecha):
    ejes.axvline(0, color="gray", linewidth=0.5)
    ejes.grid(alpha=0.3)

print("nuestra neurona con ReLU:    ", ops.relu(np.array([total])))
print("nuestra neurona con sigmoide:", ops.sigmoid(np.array([total])).round(3))

# %%
# La pendiente
# ------------
# Más adelante la red aprenderá siguiendo pendientes: cuánto cambia la salida si la entrada cambia un poco. Cada función de
# ``cnnfast.ops`` tiene una gemela que las calcula, ``relu_backward``, ``sigmoid_backward``...
#
# La pendiente de ReLU es 0 o 1. La de la sigmoide nunca pasa de 0.25, y lejos del cero casi desaparece: ahí la neurona está
# *saturada* y apenas aprende. Por eso las capas interiores prefieren ReLU.
unos = np.ones_like(x)
sigmoide = ops.sigmoid(x)
pendiente_relu = ops.relu_backward(unos, x)
pendiente_sigmoide = ops.sigmoid_backward(unos, sigmoide)

figura, ejes = plt.subplots(figsize=(6, 3), layout="constrained")
ejes.plot(x, pendiente_relu, label="pendiente de ReLU")
ejes.plot(x, pendiente_sigmoide, label="pendiente de la sigmoide")
ejes.legend()
ejes.grid(alpha=0.3)
print("pendiente máxima de la sigmoide:", pendiente_sigmoide.max())

# %%
# ¿Y si no hubiera activación?
# ----------------------------
# Dos capas seguidas sin activación son, en realidad, una sola: multiplicar por una matriz y después por otra es multiplicar
# por su producto. Apilar capas no serviría de nada.
azar = np.random.default_rng(0)
primera, segunda = azar.normal(size=(4, 5)), azar.normal(size=(5, 3))
dato = azar.normal(size=(1, 4))

dos_capas = ops.matmul(ops.matmul(dato, primera), segunda)
una_capa = ops.matmul(dato, ops.matmul(primera, segunda))
print("dos capas:", dos_capas.round(3))
print("una capa: ", una_capa.round(3))

con_relu = ops.matmul(ops.relu(ops.matmul(dato, primera)), segunda)
print("con ReLU: ", con_relu.round(3))

# %%
# Con una ReLU en medio ya no se pueden fundir, y entonces sí: cada capa añade algo que la anterior no podía hacer. Con
# cuatro ReLU bien colocadas, por ejemplo, se dibuja un escalón con rampa que ninguna recta puede dibujar.
escalon = ops.relu(x + 2) - ops.relu(x + 1) - ops.relu(x - 1) + ops.relu(x - 2)

figura, ejes = plt.subplots(figsize=(6, 2.5), layout="constrained")
ejes.plot(x, escalon)
ejes.set_title("Cuatro ReLU sumadas")
ejes.grid(alpha=0.3)

# %%
# En la próxima lección, la misma suma ponderada se pasea por una fotografía.
