"""The front page's picture: what three layers make of a photograph, after learning faces for a few seconds."""

import matplotlib.pyplot as plt
import numpy as np
from skimage import color, data

from cnnfast import Sequential, layers, visualize


def body(filters=(16, 32, 32)):
    """Three convolutions, each on maps half as large as the one before."""
    first, *others = (layers.Conv2D(n, 3, padding="same", activation="relu") for n in filters)
    return [first, *(layer for conv in others for layer in (layers.MaxPooling2D(2), conv))]


def unlike(channels, count):
    """Indices of channels that show different things: each time the one least like any chosen so far."""
    likeness = np.abs(np.corrcoef(channels.reshape(len(channels), -1)))
    chosen = [int(likeness.sum(0).argmin())]
    while len(chosen) < min(count, len(channels)):
        worst = likeness[chosen].max(0)
        worst[chosen] = np.inf
        chosen.append(int(worst.argmin()))
    return chosen


faces = data.lfw_subset()[..., None].astype(np.float32)  # 100 faces, then 100 pictures without one
labels = np.repeat([1, 0], 100)
model = Sequential([layers.Input((25, 25, 1)), *body(), layers.Flatten(), layers.Dense(1, activation="sigmoid")], seed=0)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(faces, labels, epochs=15, batch_size=16, verbose=0)

photo = color.rgb2gray(data.astronaut()).astype(np.float32)[:360, 60:420]
eye = Sequential([layers.Input((*photo.shape, 1)), *body()])
eye.set_weights(model.get_weights()[: len(eye.get_weights())])
maps = visualize.feature_maps(eye, photo)

figure = plt.figure(figsize=(12, 3.3), layout="constrained")
panels = figure.subplots(1, 4)
panels[0].imshow(photo, cmap="gray")
panels[0].set_title("a photograph")
for axes, name, count in zip(panels[1:], ("conv2d", "conv2d_1", "conv2d_2"), (4, 9, 16)):
    channels = maps[name].transpose(2, 0, 1)[..., None]
    channels = channels[(channels > 0).mean((1, 2, 3)) > 0.1]  # some hardly ever wake up
    channels = np.minimum(channels / np.quantile(channels, 0.99, (1, 2, 3), keepdims=True), 1)
    channels = channels[unlike(channels, count)]
    axes.imshow(visualize.mosaic(channels, int(count**0.5), gap=channels.shape[1] // 30), cmap="inferno")
    axes.set_title(f"{count} of {maps[name].shape[-1]} maps of {name}")
for axes in panels:
    axes.set_axis_off()
