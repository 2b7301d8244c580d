"""What the figures about the signal are drawn from in tests, and what is read off them."""

import numpy as np
import pandas as pd

from gainrl.study.figures import (
    AngleMap,
    NeuronPanel,
    figure_answers,
    figure_bins,
    figure_epochs,
    figure_layers,
    figure_maps,
    figure_neurons,
)


def angle_map(prompt="q1", lengths=(3, 4, 2), layers=(0, 1), **changes):
    """Cosines that differ at every place and layer: -0.9 to 0.9, rising, times the layer's rank."""
    m = sum(lengths)
    rising = np.linspace(-0.9, 0.9, m * m).reshape(m, m)
    cosines = np.stack([rising / (1 + rank) for rank in range(len(layers))])
    fields = {"correct": 3, "samples": 8, "caption": ""} | changes
    return AngleMap(prompt, cosines, layers, *lengths, **fields)


def profile_frame():
    """Three prompts, layers 0 and 1; C_intra = prompt + layer, C_inter = its tenth."""
    rows = [(f"q{i}", layer, i + layer, (i + layer) / 10) for i in range(3) for layer in (0, 1)]
    return pd.DataFrame(rows, columns=["id", "layer", "c_intra", "c_inter"])


def answers_frame():
    """Five questions; 'a' ties at 4 for q1, q3 and q4, and 'b' ties at 1 for q1 and q4."""
    counts = {"q0": (0, 5), "q1": (4, 1), "q2": (5, 0), "q3": (4, 2), "q4": (4, 1)}
    rows = [(q, model, pair["ab".index(model)], 5) for q, pair in counts.items() for model in "ab"]
    return pd.DataFrame(rows, columns=["id", "model", "correct", "samples"])


def epochs_frame():
    rng = np.random.default_rng(1)
    rows = [(step, f"q{i}", *rng.random(3)) for step in (0, 5, 20) for i in range(6)]
    return pd.DataFrame(rows, columns=["step", "id", "c_intra", "c_inter", "c"])


STARTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.0)  # with 4 bins: 3, 1, 3 and 1 prompts


def bins_frame():
    """Eight prompts at steps 0 and 10: prompt i has i of 8 right at 0, and one more at 10."""
    rows = [(t, f"q{i}", i + t // 10, 8, c) for t in (0, 10) for i, c in enumerate(STARTS)]
    return pd.DataFrame(rows, columns=["step", "id", "correct", "samples", "start_c"])


def neuron_panel(steps=(0, 5), prompts=6, neurons=4):
    rng = np.random.default_rng(2)
    vectors = rng.random((len(steps), prompts, neurons)) < 0.5
    return NeuronPanel(steps, vectors, rng.random((len(steps), prompts)))


DRAWN = {
    "maps": lambda *paths: figure_maps([angle_map(), angle_map("q2", (2, 2, 0))], *paths),
    "layers": lambda *paths: figure_layers({"nano, chain": profile_frame()}, *paths, 0.5),
    "answers": lambda *paths: figure_answers({"chain": answers_frame()}, *paths),
    "epochs": lambda *paths: figure_epochs({"nano": epochs_frame()}, *paths, 0.9),
    "bins": lambda *paths: figure_bins({"nano": bins_frame()}, *paths, bins=4),
    "neurons": lambda *paths: figure_neurons({"nano": neuron_panel()}, *paths),
}


def note_of(figure):
    return " ".join(figure.legends[0].get_title().get_text().split())


def keys_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def band_of(collection):
    """(n,) lower and upper limits of a fill_between at its n places."""
    vertices = collection.get_paths()[0].vertices
    places = np.unique(vertices[:, 0])
    at = [vertices[vertices[:, 0] == place, 1] for place in places]
    return [found.min() for found in at], [found.max() for found in at]


def assert_no_text_leaves(figure):
    """No text lies outside the picture, none of the titles and labels on another."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [*figure.texts, figure.legends[0].get_title()]
    for axis in figure.axes:
        texts += [*axis.texts, axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1
        assert box.y1 <= page.y1 + 1
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert width <= 1 or height <= 1.5
