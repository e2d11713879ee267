// The search page: looks for the words of `?q=` in the sections that section_search.py has written.
(() => {
  const MOST = 40;
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  // "re-balancing" and "rebalanced" are one word: hyphens inside it do not count, nor does its ending.
  const stem = (word) => {
    const bare = word.replace(/[-‐‑]/gu, "");
    const short = bare.replace(/(?:ing|ed|es|s|e)$/iu, "");
    return short.length >= 4 ? short : bare;
  };
  const pattern = (word) => [...stem(word)].map(escaped).join("[-‐‑]?");
  const matcher = (body) => new RegExp(`(?<![\\p{L}\\p{N}])(?:${body})[\\p{L}\\p{N}]*`, "giu");
  const count = (text, body) => [...text.matchAll(matcher(body))].length;

  // Words in a title count most, then how densely they stand in the text; code counts least.
  function score(page, { title, words, code }, patterns) {
    const dense = (found) => (10 * found) / (found + 0.3 + words.length / 2500);
    let sum = 0;
    for (const body of patterns) {
      const [inTitle, inWords, inCode] = [title, words, code].map((text) => count(text, body));
      if (!inTitle && !inWords && !inCode) return 0;
      sum += 20 * Math.min(inTitle, 1) + 3 * Math.min(count(page, body), 1) + dense(inWords) + Math.min(inCode, 1);
    }
    if (patterns.length === 1) return sum;
    const phrase = patterns.join("[\\p{L}\\p{N}]*[\\s-]+");
    return sum + 25 * Math.min(count(title, phrase), 1) + 2 * dense(count(words, phrase));
  }

  function find(query) {
    const patterns = [...new Set(query.match(/[\p{L}\p{N}_‐‑-]+/gu) ?? [])].map(pattern).filter((body) => body);
    if (!patterns.length) return { patterns, hits: [] };
    const hits = SECTIONS.flatMap(([address, sections]) => sections.map(([anchor, title, words, code], place) => {
      const page = sections[0][1];
      const hit = { page, title, words, code, address: place ? `${address}#${anchor}` : address };
      return { ...hit, score: score(page, hit, patterns) };
    })).filter((hit) => hit.score > 0);
    return { patterns, hits: hits.sort((a, b) => b.score - a.score) };
  }

  // Some words around the first one found, with what was found marked.
  function excerpt({ words: prose, code }, patterns) {
    const any = matcher(patterns.join("|"));
    const words = prose.search(any) < 0 && code.search(any) >= 0 ? code : prose;
    const first = Math.max(0, words.search(any) - 80);
    const start = first && words.indexOf(" ", first) + 1;
    const end = start + 240 < words.length ? words.lastIndexOf(" ", start + 240) : words.length;
    const text = `${start ? "…" : ""}${words.slice(start, end)}${end < words.length ? "…" : ""}`;
    const line = document.createElement("p");
    let done = 0;
    for (const match of text.matchAll(any)) {
      const mark = Object.assign(document.createElement("mark"), { textContent: match[0] });
      line.append(text.slice(done, match.index), mark);
      done = match.index + match[0].length;
    }
    line.append(text.slice(done));
    return line;
  }

  function entry(hit, patterns) {
    const { page, title, address } = hit;
    const item = document.createElement("li");
    const link = Object.assign(document.createElement("a"), { href: address, textContent: title });
    const where = Object.assign(document.createElement("span"), { className: "search-page", textContent: ` ${page}` });
    item.append(link, title === page ? "" : where, excerpt(hit, patterns));
    return item;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const query = new URLSearchParams(location.search).get("q") ?? "";
    const results = document.getElementById("search-results");
    for (const field of document.querySelectorAll("input[name=q]")) field.value = query;
    if (!query.trim()) return;
    const { patterns, hits } = find(query);
    const status = Object.assign(document.createElement("p"), { role: "status" });
    const number = hits.length === 1 ? "One section" : `${hits.length || "No"} sections`;
    status.textContent = `${number} found for “${query}”${hits.length > MOST ? `; the best ${MOST}:` : "."}`;
    const list = document.createElement("ol");
    list.append(...hits.slice(0, MOST).map((hit) => entry(hit, patterns)));
    results.replaceChildren(status, list);
  });
})();
