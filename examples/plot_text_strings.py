"""
# Which strings moved a prediction

A table with free text: products, prices, and what customers wrote. A network that was never trained
on it predicts whether a product came back. Then it is asked again, each time with one cell taken
away or one phrase exchanged: what the answer loses is what that string was worth to it.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from openpfn import PFNClassifier
from openpfn.plots.beliefs import named, panels

# %%
# ## A table with text
#
# Complaints raise the odds of a return, praise lowers them, and dear products come back more often.
# Everything else a customer writes means nothing.

random = np.random.default_rng(0)
COMPLAINTS = ["zipper broke", "seam torn", "arrived stained", "runs far too small"]
PRAISE = ["fits perfectly", "very soft", "love the colour", "great quality"]
CHATTER = ["ordered on monday", "a gift for my sister", "second one I own", "paid by card"]


def reviews(n):
    price = random.gamma(3.0, 15.0, n).round(2)
    unhappy = random.random(n) < 0.4
    texts = [
        ", ".join(
            random.permutation([random.choice(said), *random.choice(CHATTER, 2, replace=False)])
        )
        for said in (COMPLAINTS if bad else PRAISE for bad in unhappy)
    ]
    product = random.choice(["jacket", "dress", "shirt", "scarf"], n)
    odds = np.exp(3.0 * unhappy - 2.0 + 0.02 * (price - 45))
    returned = np.where(random.random(n) < odds / (1 + odds), "returned", "kept")
    table = pd.DataFrame({"product": product, "price": price, "review": texts})
    return table, returned


context, returned = reviews(300)
query, truth = reviews(200)

# %%
# ## Reading it
#
# `fit` shows the 300 rows to the network and trains nothing. Reviews are read by their words and
# letters, so that no text encoder needs to be installed.

classifier = PFNClassifier(text="string").fit(context, returned)
print("\n".join(classifier.encoder_.describe()))
place = list(classifier.classes_).index("returned")


def log_odds(table):
    p = classifier.predict_proba(table)[:, place].clip(1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


accuracy = (classifier.predict(query) == truth).mean()
print(f"accuracy {accuracy:.2f} on {len(query)} other rows")

# %%
# ## Which cell moved it
#
# One row of the query, and the same row with each cell missing. A prediction depends on no other
# query row, so all of these are asked at once.

row = query.iloc[[int(np.argmax(log_odds(query)))]]


def without_cells(row):
    asked = {column: row.assign(**{column: None}) for column in row.columns}
    return pd.concat(asked.values()), list(asked)


asked, cells = without_cells(row)
whole = log_odds(row)[0]
of_cells = whole - log_odds(asked)

# %%
# ## Which phrases moved it
#
# The review again, with one of its phrases exchanged for those that others wrote, on average over
# 20 of them. Merely leaving a phrase out would say something, too: no other review is that short.

written = [phrase for text in context["review"] for phrase in text.split(", ")]


def with_others(text, phrase, n):
    said = text.split(", ")
    return [
        ", ".join(other if one == phrase else one for one in said)
        for other in random.choice(written, n)
    ]


N_OTHERS = 20
phrases = str(row["review"].iloc[0]).split(", ")
changed = [with_others(row["review"].iloc[0], phrase, N_OTHERS) for phrase in phrases]
asked = pd.concat([row.assign(review=text) for texts in changed for text in texts])
of_phrases = whole - log_odds(asked).reshape(len(phrases), N_OTHERS).mean(axis=1)

figure, axes = panels(2, height=2.6)
for panel, names, values in (
    (axes[0, 0], [f"{c} = {row[c].iloc[0]}"[:28] for c in cells], of_cells),
    (axes[0, 1], phrases, of_phrases),
):
    panel.barh(np.arange(len(names)), values, color=np.where(values > 0, "#c8452f", "#2f6f8f"))
    panel.set_yticks(np.arange(len(names)), names)
    panel.invert_yaxis()
    panel.axvline(0, color="#55606a", linewidth=0.8)
named(axes[0, 0], "cells", "log-odds of a return that it adds", "taken away")
named(axes[0, 1], "phrases of the review", "log-odds of a return that it adds")

# %%
# ## Over many rows
#
# The mean of what each phrase adds, over 60 query rows: the network found the complaints and the
# praise, and gives the chatter little.

some = query.iloc[:60]
said = [(i, phrase) for i, text in enumerate(some["review"]) for phrase in text.split(", ")]
changed = [with_others(some["review"].iloc[i], phrase, 3) for i, phrase in said]
places = np.repeat([i for i, _ in said], 3)
asked = some.iloc[places].assign(review=np.concatenate(changed))
added = (log_odds(some)[places] - log_odds(asked)).reshape(-1, 3).mean(axis=1)
worth = pd.Series(added).groupby([phrase for _, phrase in said]).mean()
means = worth.reindex([*COMPLAINTS, *CHATTER, *PRAISE]).dropna()

figure, axes = panels(1, height=3.6)
kinds = {**dict.fromkeys(COMPLAINTS, "#c8452f"), **dict.fromkeys(PRAISE, "#2f6f8f")}
colors = [kinds.get(phrase, "#b9bfc5") for phrase in means.index]
axes[0, 0].barh(list(means.index), means.to_numpy(), color=colors)
axes[0, 0].invert_yaxis()
axes[0, 0].axvline(0, color="#55606a", linewidth=0.8)
named(axes[0, 0], "", "mean log-odds of a return that it adds", "phrase")
plt.show()
