"""
# A network's answers in a small model

A prior-fitted network predicts from the rows it is shown, and every prediction passes through all
of it. Where answers must come at once, without torch, a small model can learn them: trees and a
multilayer perceptron are asked here whether they answer as the network does, and for the same
reasons.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

from openpfn import PFNClassifier, PFNExplainer
from openpfn.estimators.distilling.fidelity import what_is_kept
from openpfn.plots.beliefs import named, panels
from openpfn.plots.importance import importance

# %%
# ## A network that has read 150 rows
#
# Ten measurements of cell nuclei; the question is whether a lump is benign.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = X[[name for name in X.columns if name.startswith("mean ")]]
X.columns = [name.removeprefix("mean ") for name in X.columns]
y = y.map({0: "malignant", 1: "benign"})
order = np.random.default_rng(0).permutation(len(X))
context, query = order[:150], order[150:450]

network = PFNClassifier(n_estimators=2).fit(X.iloc[context], y.iloc[context])

# %%
# ## Two students
#
# Both learn the network's log-odds for rows that are made of the context's: some cells come from
# other rows, numbers get a little noise. No target of theirs is a label. What each keeps is
# measured on rows that nobody has seen.

students = {kind: network.distill(kind, n_rows=1500) for kind in ("trees", "mlp")}
for kind, student in students.items():
    print(f"{kind}: {student.fidelity_}")
    print(f"  {what_is_kept(network, student, X.iloc[query], y.iloc[query])}")

# %%
# ## Do they agree?
#
# Each point is a row that was not in the context: what the network gives its being benign, and
# what the student does. On the diagonal both say the same.


def log_odds(model):
    p = model.predict_proba(X.iloc[query])[:, list(model.classes_).index("benign")]
    p = p.clip(1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


taught = log_odds(network)
figure, axes = panels(2, sharex=True, sharey=True, height=2.8)
for axis, (kind, student) in zip(axes[0], students.items(), strict=True):
    axis.axline((0, 0), slope=1, color="0.7", linewidth=1)
    axis.scatter(taught, log_odds(student), s=9, alpha=0.5, color="#2f6f8f", linewidths=0)
    named(axis, kind, "log-odds of benign, network")
axes[0, 0].set_ylabel("log-odds of benign, student")

# %%
# ## For the same reasons?
#
# Shapley values of eight rows: how far each measurement moves the probability, when those that are
# left out come from eight rows of the context. Missing cells, the faster way, would ask the trees
# what they never learned, as this table has none.

few, background = X.iloc[query[:8]], X.iloc[context[:8]]
figure, axes = panels(2, height=2.8)
for axis, (who, model) in zip(
    axes[0], {"network": network, "trees": students["trees"]}.items(), strict=True
):
    explainer = PFNExplainer(model, background, n_coalitions=64)
    values = explainer.shap_values(few)  # (8 rows, 10 columns, 2 classes)
    importance(
        np.abs(values[:, :, 0]).mean(axis=0),
        list(X.columns),
        most=6,
        axes=axis,
        x_label="mean size of Shapley values",
    )
    named(axis, who, y_label="measurement")
plt.show()
