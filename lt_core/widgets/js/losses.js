// The book's losses, gradients and post-hoc adjustments for one sample, in float64.
//
// Every function mirrors the one of the same name in `lt_core` (snake_case there), and option names are the Python ones;
// tests/browser/test_losses_js.py compares them on random input. Inputs are taken as valid: the Python classes check.

export function logSumExp(values) {
  const top = Math.max(...values);
  if (top === -Infinity) return -Infinity;
  return top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
}

export function softmax(scores) {
  const total = logSumExp(scores);
  return scores.map((z) => Math.exp(z - total));
}

const logSigmoid = (x) => (x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x)));
const total = (values) => values.reduce((sum, v) => sum + v, 0);

// ---- counts -------------------------------------------------------------------------------------------------------

/** Images per class; profile "exp", "step" or "balanced" (`lt_core.data.class_counts`). */
export function classCounts(numClasses, maxCount, imbalanceFactor, profile = "exp") {
  // A power that should be a whole number may come out one rounding below it, and floor would lose an image.
  const whole = (n) => Math.floor(n * (1 + 1e-12));
  return Array.from({ length: numClasses }, (_, c) => {
    if (profile === "balanced") return maxCount;
    if (profile === "step") return c < Math.floor(numClasses / 2) ? maxCount : whole(maxCount / imbalanceFactor);
    return whole(maxCount * imbalanceFactor ** (-c / (numClasses - 1)));
  });
}

/** "many" above 100 images, "few" below 20, else "medium" (`lt_core.metrics.shot_groups`). */
export const shotGroup = (count, many = 100, few = 20) => (count > many ? "many" : count < few ? "few" : "medium");

export function logPrior(counts) {
  const sum = total(counts);
  return counts.map((n) => Math.log(n / sum));
}

export function classBalancedWeights(counts, beta = 0.9999) {
  const logBeta = Math.log1p(beta - 1);
  const inverse = counts.map((n) => (beta === 0 ? 1 : -1 / Math.expm1(n * logBeta)));
  const sum = total(inverse);
  return inverse.map((v) => (v * counts.length) / sum);
}

export function ldamMargins(counts, maxMargin = 0.5) {
  const smallest = Math.min(...counts);
  return counts.map((n) => maxMargin * (smallest / n) ** 0.25);
}

/** ALA's quantity factor; `quantity` "log", "log2", "ldam" or null, `size` the rarest class's factor or null. */
export function quantityFactor(counts, quantity = "log", size = null) {
  const smallest = Math.min(...counts);
  const shapes = {
    log: (r) => 1 / Math.log(r + 1),
    log2: (r) => Math.log(2) / Math.log(r + 1),
    ldam: (r) => 0.5 * r ** -0.25,
  };
  const factors = counts.map((n) => (quantity === null ? 1 : shapes[quantity](n / smallest)));
  if (size === null) return factors;
  const largest = Math.max(...factors);
  return factors.map((f) => (f * size) / largest);
}

export const difficultyFactor = (targetCosine) => (1 - targetCosine) / 2;

/** What a loss of face recognition takes off the target's cosine: "cosface", "arcface" or "sphereface". */
export function faceMargin(name, cosine, size) {
  if (name === "cosface") return size;
  const angle = Math.acos(cosine);
  if (name === "arcface") return cosine - Math.cos(Math.min(Math.PI, angle + size));
  const turns = Math.floor((size * angle) / Math.PI);
  return cosine - ((turns % 2 ? -1 : 1) * Math.cos(size * angle) - 2 * turns);
}

// ---- losses -------------------------------------------------------------------------------------------------------

// Cross-entropy of adjusted scores; `slope` is the derivative of an adjusted score by its input (the scale of a cosine).
function crossEntropy(adjusted, target, weight = 1, slope = 1) {
  const probabilities = softmax(adjusted);
  const loss = weight * (logSumExp(adjusted) - adjusted[target]);
  const gradient = probabilities.map((p, j) => weight * slope * (p - (j === target ? 1 : 0)));
  return { loss, gradient, probabilities, adjusted };
}

// The loss is a function of the gap between the target's logit and the log-sum-exp of the others; `slope` is minus its
// derivative by that gap. Every factor stays finite where gamma < 1 and p_y rounds to 1.
function focal(logits, target, { gamma = 2, weight = 1 }) {
  const others = logSumExp(logits.filter((_, j) => j !== target));
  const gap = logits[target] - others;
  const [logP, logRest] = [logSigmoid(gap), logSigmoid(-gap)]; // log p_y and log(1 - p_y)
  const factor = weight * Math.exp(gamma * logRest);
  const slope = factor * (Math.exp(logRest) - gamma * Math.exp(logP) * logP);
  const gradient = logits.map((z, j) => (j === target ? -slope : slope * Math.exp(z - others)));
  return { ...crossEntropy(logits, target), loss: -factor * logP, gradient };
}

function margin(cosines, target, amount, { scale = 30, weight = 1 }) {
  const adjusted = cosines.map((c, j) => scale * (j === target ? c - amount : c));
  return { ...crossEntropy(adjusted, target, weight, scale), margin: amount };
}

function ldam(cosines, target, options) {
  return margin(cosines, target, ldamMargins(options.class_counts, options.max_margin)[target], options);
}

/** ALA's factors of one sample: {DF, QF, A}, as `ALALoss.factors`. */
export function alaFactors(cosines, target, options) {
  const { class_counts, difficulty = true, quantity = "log", size = null, scale = 30 } = options;
  const QF = quantityFactor(class_counts, quantity, size)[target];
  let DF = 1;
  if (difficulty === true) DF = difficultyFactor(cosines[target]);
  if (difficulty === "probability") DF = 1 - softmax(cosines.map((c) => scale * c))[target];
  const absent = difficulty === false && quantity === null && size === null;
  return { DF, QF, A: absent ? 0 : DF * QF };
}

function ala(cosines, target, options) {
  const { difficulty = true, detach = true, scale = 30, weight = 1 } = options;
  const { QF, A } = alaFactors(cosines, target, options);
  const result = margin(cosines, target, A, options);
  if (detach || difficulty === false) return result;
  if (difficulty === true) {
    const gradient = result.gradient.map((g, j) => (j === target ? (1 + QF / 2) * g : g));
    return { ...result, gradient };
  }
  const p = softmax(cosines.map((c) => scale * c));
  const factor = weight * scale ** 2 * QF * p[target] * (1 - result.probabilities[target]);
  const gradient = result.gradient.map((g, j) => g + factor * (p[j] - (j === target ? 1 : 0)));
  return { ...result, gradient };
}

function logitAdjusted(logits, target, { class_counts, tau = 1, weight = 1 }) {
  const prior = logPrior(class_counts);
  return crossEntropy(logits.map((z, j) => z + tau * prior[j]), target, weight);
}

/** GALA's adjusted logits for accumulated gradients `theta`, as `lt_core.losses.gala_logits`. */
export function galaLogits(logits, target, options) {
  const { theta, lambda_pos = 1, lambda_neg = 1, form = "released", eps = 1e-3 } = options;
  const logTheta = theta.map((t) => Math.log(t + eps));
  if (form === "released") return logits.map((z, j) => z + lambda_pos * logTheta[j]);
  return logits.map((z, j) => (j === target ? z : z + lambda_pos * logTheta[j] - lambda_neg * logTheta[target]));
}

/** The buffers after a batch: `residuals` holds 1 - p_y of its samples; returns {gradientSum, theta}. */
export function galaAccumulate({ gradientSum, theta }, residuals, targets, accumulate = "double") {
  const sums = gradientSum.slice();
  residuals.forEach((r, i) => (sums[targets[i]] += r / targets.length));
  return { gradientSum: sums, theta: accumulate === "double" ? theta.map((t, k) => t + sums[k]) : sums.slice() };
}

const LOSSES = {
  ce: (scores, target, { weight = 1 }) => crossEntropy(scores, target, weight),
  focal,
  cb: (scores, target, { class_counts, beta }) =>
    crossEntropy(scores, target, classBalancedWeights(class_counts, beta)[target]),
  ldam,
  la: logitAdjusted,
  balanced_softmax: (scores, target, options) => logitAdjusted(scores, target, { ...options, tau: 1 }),
  ala,
  gala: (scores, target, options) => crossEntropy(galaLogits(scores, target, options), target, options.weight),
};
export const LOSS_NAMES = Object.keys(LOSSES);
export const COSINE_LOSSES = ["ldam", "ala"];

/**
 * One sample under the loss `name`: {loss, gradient, probabilities, adjusted}, with the gradient by the input scores
 * and the softmax of the adjusted ones. Scores are cosines for the losses of COSINE_LOSSES, else logits. `options`:
 * class_counts, the loss's own options, and `weight`, the weight of the target's class.
 */
export const evaluateLoss = (name, scores, target, options = {}) => LOSSES[name](scores, target, options);

// ---- after training -----------------------------------------------------------------------------------------------

export function adjustLogits(logits, counts, tau = 1) {
  const prior = logPrior(counts);
  return logits.map((z, j) => z - tau * prior[j]);
}

/** Rows of probabilities divided by a power of their column sums, over the set given. */
export function rebalancePredictions(rows, tau = 1) {
  const sums = rows[0].map((_, j) => total(rows.map((row) => row[j])));
  return rows.map((row) => row.map((p, j) => p / sums[j] ** tau));
}

export function tauNormalize(rows, tau = 1) {
  return rows.map((row) => row.map((w) => w / Math.hypot(...row) ** tau));
}
