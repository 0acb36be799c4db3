// Gradio's words for a file that its field for sounds does not take list 14 media types.
const OWN_WORDS = "That is no recording. Here goes a voice, as WAV, FLAC, MP3 or OGG; faces have a field of their own.";

new MutationObserver(() => {
  for (const part of document.querySelectorAll('[data-testid="toast-body"] *')) {
    const isText = !part.childElementCount;
    if (isText && part.textContent.includes("Invalid file type")) part.textContent = OWN_WORDS;
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
