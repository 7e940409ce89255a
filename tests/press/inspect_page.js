// What axe-core does not look for, asked inside the browser once MathJax is done. Returns a list of
// findings and all links.
() => {
  const findings = [], shown = (e) => e.getClientRects().length > 0;
  const name = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 100);
  const page = document.querySelector("article") || document.body;

  for (const image of document.images)
    if (!image.complete || image.naturalWidth === 0) findings.push("missing image: " + name(image));
  const titles = [...page.querySelectorAll("h1")].filter(shown).length;
  if (titles !== 1) findings.push(`${titles} headings of the first level`);
  for (const formula of page.querySelectorAll(".math"))
    if (!formula.querySelector("mjx-container"))
      findings.push("formula that did not render: " + name(formula));
  for (const wrong of page.querySelectorAll("[data-mjx-error], mjx-merror"))
    findings.push("formula with an error: " + name(wrong));

  const width = document.documentElement.clientWidth;
  const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  if (document.documentElement.scrollWidth > width || document.body.scrollWidth > width)
    findings.push("the page scrolls sideways");
  for (const element of page.querySelectorAll("*")) {
    if (element.getBoundingClientRect().right <= width + 1 || !shown(element)) continue;
    let box = element;
    while (box && !scrolls(box)) box = box === page ? null : box.parentElement;
    if (!box && !element.closest(".visually-hidden, mjx-assistive-mml"))
      findings.push("cut off at the right: " + name(element));
  }

  // axe-core looks at code only where it shows a kind of token that no code above it showed:
  // thousands of words in the same few colours would take minutes.
  const kinds = new Set();
  for (const code of document.querySelectorAll("pre")) {
    const here = [...code.querySelectorAll("span")].map((span) => span.className);
    if (here.length && here.every((kind) => kinds.has(kind))) code.dataset.known = "";
    here.forEach((kind) => kinds.add(kind));
  }
  const links = [...document.querySelectorAll("a[href]")].map((a) => [a.getAttribute("href"), a.href]);
  return [findings, links];
}
