// What is hard to read or cannot be heard on the page: both lists should be empty.
() => {
  // Controls without a name that a screen reader could say.
  const labels = (each) => [...(each.labels || [])].map((label) => label.textContent).join("").trim();
  const named = (each) => each.getAttribute("aria-label") || labels(each) || each.textContent.trim();
  const controls = "a[href], button, input, select, canvas, summary, [tabindex='0']";
  const nameless = [...document.querySelectorAll(controls)]
    .filter((each) => each.checkVisibility() && !named(each)).map((each) => each.outerHTML);

  // Texts with less contrast than 4.5 to 1 (WCAG AA) against the nearest ground, or smaller than 9.5 pixels.
  const parsed = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => sum + share * linear(rgb[at] / 255), 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parsed(getComputedStyle(each).backgroundColor);
      if (colour[3] > 0.9) return colour;
    }
    return [255, 255, 255];
  };
  const unreadable = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const each = walker.currentNode.parentElement;
    if (!text || !each.checkVisibility() || each.closest("script, title, .only-heard, .skip, option")) continue;
    const style = getComputedStyle(each);
    const drawing = each.closest("svg");
    const [high, low] = [light(parsed(drawing ? style.fill : style.color)), light(ground(each))].sort((a, b) => b - a);
    const pixels = parseFloat(style.fontSize) * (drawing ? drawing.getScreenCTM().a : 1);
    if ((high + 0.05) / (low + 0.05) < 4.5 || pixels < 9.5) unreadable.push(`${text.slice(0, 40)}: ${style.color}, ${pixels} px`);
  }
  return { nameless, unreadable };
}
