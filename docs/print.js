/* Paper is light: print the light page, and come back to what the reader had. */
const page = document.documentElement;
let mode;
addEventListener("beforeprint", () => {
  mode = page.dataset.theme;
  page.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  page.dataset.theme = mode;
});
