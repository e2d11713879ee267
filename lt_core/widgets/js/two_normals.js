// Two normal classes on a line and the best rule between them, as `two_normals` in lt_core/widgets/prior_shift.py;
// tests/browser/test_prior_shift.py compares the two.

/** Probability that a standard normal number lies below x. */
export function normalCdf(x) {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0; // to 1e-15
  // Integrate the density term by term: every term has the sign of x, so nothing cancels.
  let [term, sum] = [x, x];
  for (let k = 1; Math.abs(term) > 1e-17; k += 1) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

/** Boundary, the share of each class that is right, the balanced error and the error on data like the training set. */
export function twoNormals(ratio, distance, tau) {
  const boundary = distance / 2 + ((1 - tau) * Math.log(ratio)) / distance;
  const head = normalCdf(boundary);
  const tail = normalCdf(distance - boundary);
  const training = 1 - (ratio * head + tail) / (ratio + 1);
  return { boundary, head, tail, balanced: 1 - (head + tail) / 2, training };
}
