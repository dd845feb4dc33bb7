(() => {
  const root = document.documentElement;
  const show = (lang) => { root.dataset.lang = lang; root.lang = lang; };
  const wish = location.hash.slice(1) || (navigator.language || "en").slice(0, 2);
  show(wish === "zh" ? "zh" : "en");
  document.getElementById("switch").addEventListener("click", () => {
    show(root.dataset.lang === "zh" ? "en" : "zh");
  });
})();
