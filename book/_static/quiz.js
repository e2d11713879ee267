// The self-check at a chapter's end (book/ext/quiz.py): a button for every question, and what it says.
const made = (tag, attributes, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};

// "3.3", "3,3", "−1/3", "81 %"; not a number for anything else.
const parse = (text) => {
  const [, top, bottom = "1"] = text.replace("−", "-").replaceAll(",", ".").match(/^\s*([+-]?[\d.]+)\s*(?:\/\s*([\d.]+))?\s*%?\s*$/) ?? [];
  return top === undefined ? NaN : Number(top) / Number(bottom);
};

// Which answers a reader has given: their places; null for none, an empty list for a number that nobody explained.
function given({ kind, inputs, values, tolerance }) {
  if (kind !== "number") {
    const chosen = inputs.flatMap((input, place) => (input.checked ? [place] : []));
    return chosen.length ? chosen : null;
  }
  const value = parse(inputs[0].value);
  if (Number.isNaN(value)) return null;
  const near = (known, place) => Math.abs(value - known) <= (place ? Math.max(0.01 * Math.abs(known), tolerance / 2) : tolerance) + 1e-9;
  const place = values.findIndex(near);
  return place < 0 ? [] : [place];
}

function verdict({ kind, right }, chosen) {
  if (chosen === null) return kind === "number" ? "Type a number first, such as 0.25 or 1/4." : "Choose an answer first.";
  const wrong = chosen.filter((place) => !right[place]).length;
  const missing = right.filter((is) => is).length - (chosen.length - wrong);
  if (!wrong && !missing) return kind === "several" ? "Right: these, and no other." : "Right.";
  if (kind !== "several") return "Not right.";
  const parts = [wrong && `${wrong} of your choices ${wrong > 1 ? "are" : "is"} not right`, missing && `${missing} more to find`];
  return `Not yet: ${parts.filter(Boolean).join(", ")}.`;
}

function quizQuestion(fieldset, solved) {
  const whys = [...fieldset.querySelectorAll(".quiz-why")];
  const question = {
    kind: fieldset.dataset.kind,
    tolerance: Number(fieldset.dataset.tolerance),
    inputs: [...fieldset.querySelectorAll("input")],
    right: whys.map(({ dataset }) => dataset.right === "yes"),
    values: whys.map(({ dataset }) => Number(dataset.value)),
  };
  const feedback = made("div", { className: "quiz-feedback", role: "status" });
  const button = made("button", { type: "button", className: "quiz-check" }, "Check");
  const clear = () => {
    feedback.replaceChildren();
    delete fieldset.dataset.state;
  };
  const check = () => {
    const chosen = given(question);
    const text = verdict(question, chosen);
    const reasons = (chosen ?? []).map((place) => {
      const reason = whys[place].cloneNode(true);
      if (question.kind !== "several") reason.querySelector("strong").remove();
      return reason;
    });
    feedback.replaceChildren(made("p", { className: "quiz-verdict" }, text), ...reasons);
    fieldset.dataset.state = chosen === null ? "" : text.startsWith("Right") ? "right" : "wrong";
    if (fieldset.dataset.state === "right") solved();
    window.MathJax?.typesetPromise?.([feedback]);  // for a reader faster than MathJax
  };
  button.addEventListener("click", check);
  for (const input of question.inputs) {
    input.addEventListener("input", clear);
    input.addEventListener("keydown", ({ key }) => key === "Enter" && check());
  }
  fieldset.querySelector("details").before(made("div", { className: "quiz-actions" }, button), feedback);
}

for (const quiz of document.querySelectorAll(".quiz")) {
  const [done, all] = [new Set(), [...quiz.querySelectorAll(".quiz-question")]];
  const score = made("p", { className: "quiz-score" });
  const tell = () => { score.textContent = `${done.size} of ${all.length} solved.`; };
  for (const fieldset of all) quizQuestion(fieldset, () => { done.add(fieldset); tell(); });
  tell();
  quiz.append(score);
}
