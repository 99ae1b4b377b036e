"""A page that walks one picture through a network: `cnnfast explain`. One file, no network, English or Spanish."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from . import answers, visualize
from .answers import are_shares, class_scores

if TYPE_CHECKING:
    from .layers import Layer
    from .models import Sequential

LANGUAGES = ("en", "es")

_CHANNELS_SHOWN = 64  # of one layer
_INPUTS_SHOWN = 64  # squares of one filter
_EDGE_SHOWN = 16, 96  # pixels of a map's longer edge, the more the fewer maps there are: larger ones are shown smaller,
_PIXELS_SHOWN = 3_000_000  # and the page stays a few MB
_UNITS_LISTED = 64  # a layer of more numbers is shown as shades of grey

TEXT = {
    "en": {
        "title": "What the network sees",
        "intro": "A picture goes in, layer after layer looks for something in it, and an answer comes out. "
                 "Here is every step.",
        "answer": "The answer",
        "picture_alt": "The picture that the network was given",
        "cam_label": "Where it saw",
        "cam_alt": "The picture with what spoke for {name} coloured orange",
        "cam_caption": "Orange: the places that spoke for this class (Grad-CAM).",
        "whole": "{layers} layers, {parameters} parameters, {multiplications} multiplications for this picture.",
        "walk": "Through the layers",
        "walk_help": "Choose a layer, then a channel: with the mouse, or with Tab and the arrow keys. "
                     "In every map, black is the channel's least value and white its largest.",
        "layers": "Layers",
        "channels": "Channels: {all}",
        "some_channels": "Channels: the first {shown} of {all}",
        "channel": "Channel {i}",
        "units": "Numbers: {all}",
        "unit": "Unit {i}",
        "units_alt": "The numbers of {name}, from {low} to {high}",
        "units_caption": "{all} numbers from {low} to {high}, mean {mean}; {active} of them above zero.",
        "map_alt": "Map of channel {i} of {name}, values from {low} to {high}",
        "map_caption": "Channel {i}: {height} × {width} values from {low} to {high}, mean {mean}; "
                       "{active} of them above zero.",
        "filter_alt": "Filter {i} on input channel {c}",
        "one_filter_caption": "Filter {i}, {height} × {width}: mid-grey is zero, white adds, black takes away.",
        "filter_caption": "Filter {i}, {height} × {width}, a square for each of its {inputs} input channels: mid-grey is "
                          "zero, white adds, black takes away.",
        "some_filter_caption": "Filter {i}, {height} × {width}, its first {shown} of {inputs} input channels: mid-grey is "
                               "zero, white adds, black takes away.",
        "numbers": "Weights of its first square",
        "size": "{shape}, {parameters} parameters",
        "cost": "{multiplications} multiplications for this picture.",
        "kinds": {
            "Conv2D": "Every filter slides over all the maps below and answers, place by place, how much it finds there "
                      "what it looks for.",
            "DepthwiseConv2D": "Every filter slides over one map below, its own.",
            "SeparableConv2D": "First every filter slides over one map below, its own; then each new map is a mixture of "
                               "what they found.",
            "Conv2DTranspose": "A convolution run backwards: every value below paints its filter into a larger map.",
            "MaxPooling2D": "Of each small window only the largest value stays: a smaller map that still knows what was "
                            "found, roughly where.",
            "AveragePooling2D": "Each small window becomes its mean.",
            "GlobalAveragePooling2D": "Each map becomes one number, its mean: how much was found, no matter where.",
            "GlobalMaxPooling2D": "Each map becomes one number, its largest: whether it was found anywhere.",
            "UpSampling2D": "Each map is enlarged.",
            "Flatten": "The maps are laid out in one long row of numbers.",
            "Dense": "Each unit weighs all numbers below and adds them up.",
            "Activation": "Each value is bent by a fixed curve, which lets layers add up to more than one layer.",
            "ReLU": "What is below zero becomes zero.",
            "LeakyReLU": "What is below zero becomes much smaller.",
            "PReLU": "What is below zero becomes smaller, by factors that were learnt.",
            "Sigmoid": "Each value becomes a share from 0 to 100 %.",
            "Softmax": "The values become shares that add up to 100 %.",
            "BatchNormalization": "Each channel is brought to a similar range.",
            "LayerNormalization": "All values of the picture are brought to a similar range.",
            "GroupNormalization": "Each group of channels is brought to a similar range.",
            "ActivityRegularization": "Only at work while training, when large values cost something. Here it changes nothing.",
            "Dropout": "Only at work while training, when it silences some values by chance. Here it changes nothing.",
            "SpatialDropout2D": "Only at work while training, when it silences some maps by chance. Here it changes nothing.",
            "RandomFlip": "Only at work while training, when it mirrors pictures by chance. Here it changes nothing.",
            "RandomTranslation": "Only at work while training, when it shifts pictures by chance. Here it changes nothing.",
            "RandomRotation": "Only at work while training, when it turns pictures by chance. Here it changes nothing.",
            "RandomBrightness": "Only at work while training, when it makes pictures brighter or darker by chance. Here it "
                                "changes nothing.",
            "RandomContrast": "Only at work while training, when it changes the contrast by chance. Here it changes nothing.",
            "RandomCrop": "While training it cuts a window out of the picture by chance; here, the middle.",
            "Rescaling": "Every value is multiplied by one number, and another is added.",
            "ZeroPadding2D": "A frame of zeros is put around each map.",
            "Cropping2D": "The edges of each map are cut off.",
            "Reshape": "The same numbers in another arrangement.",
            "Residual": "What the layers inside find is added to what came in.",
            "Parallel": "What the branches find is put together.",
        },
    },
    "es": {
        "title": "Lo que ve la red",
        "intro": "Entra una imagen, capa tras capa busca algo en ella, y sale una respuesta. Aquí está cada paso.",
        "answer": "La respuesta",
        "picture_alt": "La imagen que recibió la red",
        "cam_label": "Dónde vio",
        "cam_alt": "La imagen con lo que habló a favor de {name} en naranja",
        "cam_caption": "Naranja: los lugares que hablaron a favor de esta clase (Grad-CAM).",
        "whole": "{layers} capas, {parameters} parámetros, {multiplications} multiplicaciones para esta imagen.",
        "walk": "A través de las capas",
        "walk_help": "Elige una capa y luego un canal: con el ratón, o con el tabulador y las flechas. "
                     "En cada mapa, el negro es el menor valor del canal y el blanco el mayor.",
        "layers": "Capas",
        "channels": "Canales: {all}",
        "some_channels": "Canales: los primeros {shown} de {all}",
        "channel": "Canal {i}",
        "units": "Números: {all}",
        "unit": "Unidad {i}",
        "units_alt": "Los números de {name}, de {low} a {high}",
        "units_caption": "{all} números de {low} a {high}, media {mean}; {active} de ellos por encima de cero.",
        "map_alt": "Mapa del canal {i} de {name}, valores de {low} a {high}",
        "map_caption": "Canal {i}: {height} × {width} valores de {low} a {high}, media {mean}; "
                       "{active} de ellos por encima de cero.",
        "filter_alt": "Filtro {i} sobre el canal de entrada {c}",
        "one_filter_caption": "Filtro {i}, {height} × {width}: el gris medio es cero, el blanco suma, el negro resta.",
        "filter_caption": "Filtro {i}, {height} × {width}, un cuadro por cada uno de sus {inputs} canales de entrada: el "
                          "gris medio es cero, el blanco suma, el negro resta.",
        "some_filter_caption": "Filtro {i}, {height} × {width}, sus primeros {shown} canales de entrada de {inputs}: el "
                               "gris medio es cero, el blanco suma, el negro resta.",
        "numbers": "Pesos de su primer cuadro",
        "size": "{shape}, {parameters} parámetros",
        "cost": "{multiplications} multiplicaciones para esta imagen.",
        "kinds": {
            "Conv2D": "Cada filtro recorre todos los mapas anteriores y responde, lugar por lugar, cuánto encuentra allí "
                      "de lo que busca.",
            "DepthwiseConv2D": "Cada filtro recorre un solo mapa anterior, el suyo.",
            "SeparableConv2D": "Primero cada filtro recorre un solo mapa anterior, el suyo; después cada mapa nuevo es una "
                               "mezcla de lo que encontraron.",
            "Conv2DTranspose": "Una convolución al revés: cada valor anterior pinta su filtro en un mapa más grande.",
            "MaxPooling2D": "De cada ventana pequeña queda solo el mayor valor: un mapa más pequeño que aún sabe qué se "
                            "encontró, y más o menos dónde.",
            "AveragePooling2D": "Cada ventana pequeña se convierte en su media.",
            "GlobalAveragePooling2D": "Cada mapa se convierte en un número, su media: cuánto se encontró, sin importar "
                                      "dónde.",
            "GlobalMaxPooling2D": "Cada mapa se convierte en un número, su máximo: si se encontró en algún lugar.",
            "UpSampling2D": "Cada mapa se agranda.",
            "Flatten": "Los mapas se ponen en una larga fila de números.",
            "Dense": "Cada unidad pondera todos los números anteriores y los suma.",
            "Activation": "Cada valor pasa por una curva fija, que permite que varias capas sean más que una sola.",
            "ReLU": "Lo que está por debajo de cero pasa a ser cero.",
            "LeakyReLU": "Lo que está por debajo de cero se hace mucho más pequeño.",
            "PReLU": "Lo que está por debajo de cero se hace más pequeño, según factores aprendidos.",
            "Sigmoid": "Cada valor se convierte en una parte de 0 a 100 %.",
            "Softmax": "Los valores se convierten en partes que suman 100 %.",
            "BatchNormalization": "Cada canal se lleva a un rango parecido.",
            "LayerNormalization": "Todos los valores de la imagen se llevan a un rango parecido.",
            "GroupNormalization": "Cada grupo de canales se lleva a un rango parecido.",
            "ActivityRegularization": "Solo actúa durante el entrenamiento, cuando los valores grandes cuestan algo. Aquí no "
            "cambia nada.",
            "Dropout": "Solo actúa durante el entrenamiento, cuando calla algunos valores al azar. Aquí no cambia nada.",
            "SpatialDropout2D": "Solo actúa durante el entrenamiento, cuando calla algunos mapas al azar. Aquí no cambia "
                                "nada.",
            "RandomFlip": "Solo actúa durante el entrenamiento, cuando refleja imágenes al azar. Aquí no cambia nada.",
            "RandomTranslation": "Solo actúa durante el entrenamiento, cuando desplaza imágenes al azar. Aquí no cambia "
                                 "nada.",
            "RandomRotation": "Solo actúa durante el entrenamiento, cuando gira imágenes al azar. Aquí no cambia nada.",
            "RandomBrightness": "Solo actúa durante el entrenamiento, cuando aclara u oscurece imágenes al azar. Aquí no "
                                "cambia nada.",
            "RandomContrast": "Solo actúa durante el entrenamiento, cuando cambia el contraste al azar. Aquí no cambia nada.",
            "RandomCrop": "Durante el entrenamiento recorta una ventana de la imagen al azar; aquí, el centro.",
            "Rescaling": "Cada valor se multiplica por un número y se le suma otro.",
            "ZeroPadding2D": "Alrededor de cada mapa se pone un marco de ceros.",
            "Cropping2D": "Se cortan los bordes de cada mapa.",
            "Reshape": "Los mismos números en otro orden.",
            "Residual": "Lo que encuentran las capas de dentro se suma a lo que entró.",
            "Parallel": "Lo que encuentran las ramas se junta.",
        },
    },
}


def explain(
    model: Sequential, image: np.ndarray, *, lang: str = "en", class_names: Sequence[str] | None = None, caption: str = ""
) -> str:
    """Return a page (HTML) that walks one picture through the network.

    It shows the answer and where it was seen (`visualize.grad_cam`), and for each layer and channel the map, its filter,
    size and cost. It needs no other file and no network, and works with the keyboard and a screen reader.

    Parameters
    ----------
    model : Sequential
        A built network of images that ends in one value a class, or in one sigmoid for two classes.
    image : ndarray
        (height, width, 1 or 3), 0 to 1, as the network takes it.
    lang : "en" or "es"
        English or Spanish.
    class_names : sequence of str, optional
        By default the network's own, or numbers.
    caption : str
        What is written below the picture, such as its file name.

    Returns
    -------
    str
        The page.
    """
    if lang not in LANGUAGES:
        raise ValueError(f"explain: lang must be one of {', '.join(LANGUAGES)}, got {lang!r}")
    text: dict[str, Any] = TEXT[lang]
    maps = visualize.feature_maps(model, image)
    outputs = list(maps.values())[-1]
    scores = class_scores(model, outputs)
    names = list(class_names or answers.class_names(model))
    if outputs.ndim != 1 or len(names) != len(scores):
        raise ValueError(f"explain: class_names must have a name for each of {scores.shape} classes, got {len(names)}")
    best = [int(i) for i in np.argsort(-scores, kind="stable")[:5]]
    has_maps = any(map_.ndim == 3 for map_ in maps.values())
    sizes = {row.name: row for row in visualize.architecture(model)}
    edge = _edge(maps.values())
    data = {
        "text": {key: value for key, value in text.items() if key != "kinds"},
        "caption": caption,
        "picture": _packed(np.asarray(image).reshape(*image.shape[:2], -1), 0.0, 1.0),
        "shares": are_shares(model),
        "answers": [{"name": names[i], "score": float(scores[i])} for i in best],
        "cams": [
            {"name": names[i], **_packed(visualize.grad_cam(model, image, i), 0.0, 1.0)} for i in best if has_maps
        ],
        "whole": text["whole"].format(
            layers=len(sizes), parameters=_grouped(sum(row.parameters for row in sizes.values())),
            multiplications=_grouped(sum(row.multiplications for row in sizes.values())),
        ),
        "layers": [_layer(layer, sizes[name], maps[name], edge, text) for name, layer in visualize.walk(model)],
    }
    if len(outputs) == len(names):
        data["layers"][-1]["names"] = names
    page = resources.files(__package__).joinpath("explain.html").read_text("utf-8")
    for key, value in {
        "{lang}": lang,
        "{title}": html.escape(str(text["title"])),
        "{data}": json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }.items():
        page = page.replace(key, value)
    return page


def _packed(image: np.ndarray, low: float, high: float) -> dict[str, Any]:
    levels = np.clip(np.nan_to_num((image - low) / ((high - low) or 1.0)), 0, 1)
    pixels = np.rint(255 * levels).astype(np.uint8)
    return {"shape": image.shape, "pixels": base64.b64encode(pixels.tobytes()).decode()}


def _edge(maps: Iterable[np.ndarray]) -> int:
    """How many pixels of a map's longer edge are shown, so that the page stays small."""
    shown = sum(min(map_.shape[-1], _CHANNELS_SHOWN) if map_.ndim == 3 else 1 for map_ in maps)
    least, most = _EDGE_SHOWN
    return max(least, min(most, math.isqrt(_PIXELS_SHOWN // shown)))


def _layer(
    layer: Layer, size: visualize.LayerSize, output: np.ndarray, edge: int, text: dict[str, Any]
) -> dict[str, Any]:
    """What the page shows of one layer."""
    shape = " × ".join(map(str, output.shape))
    sentence = text["kinds"].get(size.kind, "")
    if size.multiplications:
        sentence += " " + text["cost"].format(multiplications=_grouped(size.multiplications))
    maps = _as_maps(output)
    shown = maps[:_CHANNELS_SHOWN]
    values = list(shown) if output.ndim == 3 else [output]
    stats = [(float(v.min()), float(v.mean()), float(v.max()), float((v > 0).mean())) for v in values]
    step = math.ceil(max(maps.shape[1:]) / edge)
    small = shown[:, ::step, ::step]
    pixels = b"".join(base64.b64decode(_packed(m, low, high)["pixels"]) for m, (low, _, high, _) in zip(small, stats))
    result = {
        "name": size.name,
        "type": size.kind,
        "size": text["size"].format(shape=shape, parameters=_grouped(size.parameters)),
        "text": sentence,
        "all": len(maps),
        "channels": len(shown),
        "units": 0 if output.ndim == 3 else output.size,
        "map": small.shape[1:],
        "stats": stats,
        "pixels": base64.b64encode(pixels).decode(),
    }
    if output.ndim != 3 and output.size <= _UNITS_LISTED:
        result["values"] = [float(f"{value:.4g}") for value in output.reshape(-1)]
    if output.ndim == 3 and size.kind in ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose"):
        kernels = visualize.filters(layer)[: len(shown)]
        first = kernels[..., :_INPUTS_SHOWN].transpose(0, 3, 1, 2)
        result["kernel"] = first.shape[2:]
        result["inputs"] = kernels.shape[-1]
        result["largest"] = float(np.abs(kernels).max())
        result["filters"] = np.round(first.reshape(*first.shape[:2], -1).astype(float), 5).tolist()
    return result


def _grouped(number: int) -> str:
    """1 234 567, which reads the same in both languages."""
    return f"{number:,}".replace(",", "\u202f")


def _as_maps(output: np.ndarray) -> np.ndarray:
    """(channels, height, width); a row of units becomes one map with lines of up to 32."""
    if output.ndim == 3:
        return output.transpose(2, 0, 1)
    units = output.reshape(-1)
    width = min(32, units.size)
    rows = math.ceil(units.size / width)
    return np.pad(units, (0, rows * width - units.size), constant_values=units.min()).reshape(1, rows, width)

