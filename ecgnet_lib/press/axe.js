// Runs axe-core on the page; returns [rule, what it asks for, where] for each violation. Code is
// looked at only where it shows a kind of token that no code above it showed: thousands of words
// in the same few colours would take minutes.
async () => {
  const kinds = new Set(), exclude = [];
  for (const code of document.querySelectorAll("pre")) {
    const here = [...code.querySelectorAll("span")].map((span) => span.className);
    if (here.length && here.every((kind) => kinds.has(kind))) exclude.push(code);
    here.forEach((kind) => kinds.add(kind));
  }
  // preload: axe would fetch the style sheets, which file:// forbids.
  const options = { preload: false, resultTypes: ["violations"] };
  const { violations } = await axe.run({ exclude }, options);
  return violations.flatMap((v) => v.nodes.map((n) => [v.id, v.help, n.target.join(" ")]));
}
