// Controls, pictures and charts that a screen reader could not name.
() =>
  [...document.querySelectorAll("button, input, [role], img")]
    .filter((e) => !e.hidden && e.getAttribute("aria-hidden") !== "true" && !e.closest(".svg-container"))
    .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.alt || e.labels?.length))
    .filter((e) => !e.textContent.trim())
    .map((e) => e.outerHTML.slice(0, 100))
