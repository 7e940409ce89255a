// What a page looks like to a reader, asked inside the browser. Returns a list of findings and all
// links and anchors. Runs after MathJax is done.
() => {
  const findings = [], seen = (e) => e.getClientRects().length > 0;
  const name = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 100);
  const page = document.querySelector("article") || document.body;

  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) findings.push("missing image: " + name(image));
    if (!(image.getAttribute("alt") || "").trim() && image.getAttribute("role") !== "presentation")
      findings.push("image without alternative text: " + name(image));
  }

  const headings = [...page.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(seen);
  let last = 0;
  for (const heading of headings) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) findings.push(`heading out of order after h${last}: ` + name(heading));
    last = level;
  }
  const tops = headings.filter((h) => h.tagName === "H1").length;
  if (tops !== 1) findings.push(`${tops} headings of the first level`);

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
    if (element.getBoundingClientRect().right <= width + 1 || !seen(element)) continue;
    let box = element;
    while (box && !scrolls(box)) box = box === page ? null : box.parentElement;
    if (!box && !element.closest(".visually-hidden, mjx-assistive-mml"))
      findings.push("cut off at the right: " + name(element));
  }

  return {
    findings,
    links: [...document.querySelectorAll("a[href]")].map((a) => [a.getAttribute("href"), a.href]),
    anchors: [...document.querySelectorAll("[id]")].map((e) => e.id),
  };
}
