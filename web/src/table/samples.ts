/** Tables that come with the page; their files are written from scikit-learn's. */

export const SAMPLES: Record<string, { file: string; about: string }> = {
  iris: { file: "iris.csv", about: "150 flowers of three species" },
  wine: { file: "wine.csv", about: "178 wines of three growers" },
  diabetes: { file: "diabetes.csv", about: "442 patients, and how the disease went on" },
};
