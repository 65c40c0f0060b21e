/** Whether probabilities and intervals of held-out rows mean what they say. */
import { classScores, numberScores } from "../analysis/scores";
import { legend, lineChart } from "../view/charts";
import { card, h, refill } from "../view/dom";
import { percent } from "../view/words";
import type { Part } from "./answers";

const EVEN = { name: "calibrated", points: [{ x: 0, y: 0 }, { x: 1, y: 1 }], colour: "var(--faint)", dashed: true };
const share = (value: number) => percent(value, 0);

export function calibrationCard(): Part {
  const about = h("p", { class: "about" });
  const picture = h("div", {});
  const element = card("Calibration", null, about, picture);

  return {
    element,
    open() {
      element.classList.add("stale");
    },
    judged({ task, first }, found) {
      element.classList.remove("stale");
      const y = Array.from(found.rows, (row) => task.y[row]);
      const ofClasses = task.predicts === "classes";
      const points = ofClasses
        ? classScores(found.outputs, y, task.classes.length).bins.map((bin) => ({
            x: bin.confidence,
            y: bin.accuracy,
            size: bin.n / y.length,
          }))
        : numberScores(found.outputs, y, found.width).coverage.map(({ wanted, got }) => ({
            x: wanted,
            y: got,
            size: 0.05,
          }));
      const [xLabel, yLabel] = ofClasses
        ? ["confidence", "share that was right"]
        : ["size of the interval", "share inside"];
      const said = points.map(({ x, y: got }) => `${share(x)}: ${share(got)}`).join(", ");
      refill(
        about,
        ofClasses
          ? "Held-out rows by how sure the network was: of those it calls 80% sure, 80% should be right. Larger dots hold more rows."
          : "An interval of 80% should hold 80% of the held-out numbers.",
      );
      refill(
        picture,
        lineChart(
          [EVEN, { name: first, points, dots: true }],
          {
            x: [0, 1],
            y: [0, 1],
            xLabel,
            yLabel,
            xText: share,
            yText: share,
            square: true,
            label: `Calibration of ${first}; ${xLabel}: ${yLabel}. ${said}`,
          },
        ),
        legend([
          { name: first, colour: "var(--accent)" },
          { name: "perfectly calibrated", colour: "var(--faint)", dashed: true },
        ]),
      );
    },
  };
}
