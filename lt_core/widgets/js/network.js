// A small classifier of points in the plane, trained by full-batch Adam under any of the losses, in float64.
//
// Features are (x1, x2, 1), or `hidden` tanh units of them and again a 1, so every classifier has its bias as a weight.
// The weights are one flat list: three per hidden unit, then a row of features per class. With `cosine` the scores are
// the cosines between features and rows, which LDAM and ALA need.
import { COSINE_LOSSES, classBalancedWeights, evaluateLoss, galaAccumulate } from "./losses.js";

const LEARNING_RATE = 0.1;
const [BETA1, BETA2, TINY] = [0.9, 0.999, 1e-8]; // Adam's, as in torch.optim.Adam

const width = ({ hidden }) => (hidden || 2) + 1;

function featuresOf({ hidden }, weights, [x1, x2]) {
  if (!hidden) return [x1, x2, 1];
  const features = [];
  for (let i = 0; i < 3 * hidden; i += 3) features.push(Math.tanh(weights[i] * x1 + weights[i + 1] * x2 + weights[i + 2]));
  features.push(1);
  return features;
}

function products({ hidden, classes }, weights, features) {
  const scores = [];
  let at = 3 * hidden;
  for (let k = 0; k < classes; k += 1) {
    let sum = 0;
    for (const feature of features) sum += weights[at++] * feature;
    scores.push(sum);
  }
  return scores;
}

/** Lengths of the classes' rows. */
function lengths(net, weights) {
  const size = width(net);
  const row = (k) => weights.subarray(3 * net.hidden + k * size, 3 * net.hidden + (k + 1) * size);
  return Array.from({ length: net.classes }, (_, k) => Math.hypot(...row(k)));
}

/**
 * point => scores, whose largest is the predicted class. For cosines the length of the features is left out: it changes
 * no prediction, and the scores of a linear network stay linear in the point.
 */
export function predictor(net, weights) {
  const norms = net.cosine ? lengths(net, weights) : Array(net.classes).fill(1);
  return (point) => products(net, weights, featuresOf(net, weights, point)).map((s, k) => s / norms[k]);
}

/** Adds one sample's gradient, given the one by its scores, to `gradient`. */
function backward(net, weights, gradient, point, features, scores, byScore, norms, norm) {
  const { hidden, classes, cosine } = net;
  const byFeature = new Float64Array(features.length);
  let at = 3 * hidden;
  for (let k = 0; k < classes; k += 1) {
    // A cosine c = w·f / (|w| |f|) has the gradients (f/|f| - c w/|w|) / |w| and (w/|w| - c f/|f|) / |f|.
    const scale = cosine ? byScore[k] / (norms[k] * norm) : byScore[k];
    const backW = cosine ? (byScore[k] * scores[k]) / norms[k] ** 2 : 0;
    const backF = cosine ? (byScore[k] * scores[k]) / norm ** 2 : 0;
    for (let j = 0; j < features.length; j += 1, at += 1) {
      gradient[at] += scale * features[j] - backW * weights[at];
      byFeature[j] += scale * weights[at] - backF * features[j];
    }
  }
  for (let i = 0; i < hidden; i += 1) {
    const byInput = byFeature[i] * (1 - features[i] ** 2);
    gradient[3 * i] += byInput * point[0];
    gradient[3 * i + 1] += byInput * point[1];
    gradient[3 * i + 2] += byInput;
  }
}

/**
 * Training from the weights `start`, under the loss of that name with its default options. Returns {net, weights,
 * gradient, step}: gradient() is {loss, gradient, residuals} of the mean loss, step() makes one step of Adam.
 */
export function training({ loss, hidden, points, labels, counts, start }) {
  const cosine = COSINE_LOSSES.includes(loss);
  const net = { hidden, classes: counts.length, cosine };
  const weights = Float64Array.from(start);
  const zeros = Array(counts.length).fill(0);
  let accumulators = { gradientSum: zeros, theta: zeros };
  // Class-balanced is weighted cross-entropy; a mean of weighted losses is divided by the sum of the weights.
  const kind = loss === "cb" ? "ce" : loss;
  const classWeights = loss === "cb" ? classBalancedWeights(counts) : Array(counts.length).fill(1);
  const total = labels.reduce((sum, k) => sum + classWeights[k], 0);
  const [first, second] = [new Float64Array(weights.length), new Float64Array(weights.length)];
  let steps = 0;

  const gradientNow = () => {
    const gradient = new Float64Array(weights.length);
    const options = { class_counts: counts, theta: accumulators.theta };
    const norms = cosine ? lengths(net, weights) : null;
    const residuals = [];
    let sum = 0;
    points.forEach((point, i) => {
      const features = featuresOf(net, weights, point);
      const norm = cosine ? Math.hypot(...features) : 1;
      const raw = products(net, weights, features);
      const scores = cosine ? raw.map((s, k) => s / (norms[k] * norm)) : raw;
      const result = evaluateLoss(kind, scores, labels[i], { ...options, weight: classWeights[labels[i]] });
      sum += result.loss;
      residuals.push(1 - result.probabilities[labels[i]]);
      backward(net, weights, gradient, point, features, scores, result.gradient, norms, norm);
    });
    return { loss: sum / total, gradient: gradient.map((g) => g / total), residuals };
  };

  const step = () => {
    const { gradient, residuals } = gradientNow();
    steps += 1;
    for (let i = 0; i < weights.length; i += 1) {
      first[i] = BETA1 * first[i] + (1 - BETA1) * gradient[i];
      second[i] = BETA2 * second[i] + (1 - BETA2) * gradient[i] ** 2;
      const deviation = Math.sqrt(second[i] / (1 - BETA2 ** steps)) + TINY;
      weights[i] -= (LEARNING_RATE * first[i]) / (1 - BETA1 ** steps) / deviation;
    }
    if (loss === "gala") accumulators = galaAccumulate(accumulators, residuals, labels);
  };
  return { net, weights, gradient: gradientNow, step };
}
