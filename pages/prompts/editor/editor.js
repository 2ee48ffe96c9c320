// The editor of prompts: what is written, keeping it when the page goes away, and asking the server about it.
// How it is drawn is in fields.js. The server has the last word on all that is saved or run.
(() => {
  const KEEP = 'parley-draft:';
  const DAYS = 30; // that unsaved work is kept
  const LOOK = 250, STORE = 400; // milliseconds without a key
  let kept = true; // whether the browser keeps what is written
  let looking, storing, stopping;
  let dialog = null; // the window before saving

  const E = {
    doc: null, // the fields, as core/prompts/editing/drafts.py reads them
    base: '', // what is saved of it
    locked: '', // why nothing can be saved
    seen: {}, // what the server said last
    places: {}, // the elements that are drawn into
    preview: false,
    running: false,
    bar: null, // what is told of unsaved work: {own, time} or {other, time}
    key: '',
    turn: 0,
  };

  // All that a version holds, in one way of writing.
  const content = (doc) => JSON.stringify([
    doc.description.trim(), doc.tags.split(/[,\n]/).map((tag) => tag.trim()).filter(Boolean),
    doc.messages.filter((row) => row.content.trim() || row.kept),
    Object.keys(doc.variables).sort().map((name) => [name, doc.variables[name]]),
    doc.examples.filter((row) => row.input || row.output || row.kept), doc.nearest, doc.parameters, doc.answer_schema, doc.model,
    doc.made_from ? '' : doc.name,
  ]);
  E.changed = () => Boolean(E.doc) && content(E.doc) !== E.base;

  // Unsaved work lies in the browser, by the version that it was made from and by the browser's tab: two tabs with
  // the same version must not write over each other. A tab that was duplicated takes a name of its own.
  const TAB = 'parley-tab';
  const fresh = () => Math.random().toString(36).slice(2, 10);
  let tab = fresh();
  try { tab = sessionStorage.getItem(TAB) || tab; sessionStorage.setItem(TAB, tab); } catch { /* the name lasts until a reload */ }
  const hold = () => navigator.locks?.request(`${TAB}-${tab}`, { ifAvailable: true }, (lock) => {
    if (lock) return new Promise(() => {});
    const before = tab;
    tab = fresh();
    E.key = E.key.replace(`#${before}`, `#${tab}`);
    try { sessionStorage.setItem(TAB, tab); } catch { /* as above */ }
    return hold();
  });
  hold();
  const load = (key) => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } };
  const drop = (key) => { try { localStorage.removeItem(key); } catch { kept = false; } };
  const keys = () => { try { return Object.keys(localStorage).filter((key) => key.startsWith(KEEP)); } catch { return []; } };
  const store = () => {
    clearTimeout(storing);
    storing = null;
    if (!E.doc || !E.key) return;
    if (!E.changed()) { drop(E.key); return; }
    try { localStorage.setItem(E.key, JSON.stringify({ time: Date.now(), base: E.base, doc: E.doc })); kept = true; } catch { kept = false; }
  };
  const prune = () => keys().forEach((key) => { const old = load(key); if (!old || !old.doc || Date.now() - old.time > DAYS * 864e5) drop(key); });
  window.addEventListener('pagehide', () => { if (storing) store(); });
  document.addEventListener('visibilitychange', () => { if (document.hidden && storing) store(); });
  window.addEventListener('beforeunload', (event) => { if (!kept && E.changed()) event.preventDefault(); });
  const hash = (text) => { let sum = 5381; for (let i = 0; i < text.length; i += 1) sum = (sum * 33 + text.charCodeAt(i)) >>> 0; return sum.toString(36); };

  const look = () => { clearTimeout(looking); looking = setTimeout(() => parley.fire('editor_typed'), LOOK); };
  // Something was written. Other fields may come or go because of it.
  E.touch = (redraw) => {
    clearTimeout(storing);
    storing = setTimeout(store, STORE);
    if (E.bar && E.bar.own) E.bar = null;
    if (redraw) E.draw('fields');
    E.draw('foot');
    look();
  };

  const begin = (doc, key, same) => {
    if (same) Object.assign(doc, { values: E.doc.values, question: E.doc.question, run_model: E.doc.run_model });
    else {
      if (E.running) parley.fire('editor_stop');
      document.getElementById('editor')?.classList.remove('answered');
    }
    Object.assign(E, { doc, key, seen: same ? E.seen : {}, preview: same && E.preview });
    E.draw();
    parley.fire('editor_arrived');
  };
  const others = (doc) => keys().filter((key) => key !== E.key && key.startsWith(`${KEEP}${doc.made_from ? doc.name : ''}@`))
    .map((key) => ({ other: key, ...load(key) })).sort((a, b) => b.time - a.time);

  E.packet = (text) => {
    if (!text) return;
    const told = JSON.parse(text);
    const { shown, base } = told;
    const own = `${KEEP}${shown.made_from ? shown.name : ''}@${shown.made_from || ''}#${tab}`;
    const key = told.draft ? `${own}+${hash(JSON.stringify(shown))}` : own;
    E.locked = told.locked;
    if (told.done) {
      clearTimeout(storing);
      storing = null;
      drop(E.key);
      E.key = '';
      if (dialog) dialog.close();
    }
    if (key === E.key && E.doc) { E.draw('foot'); return; } // the same once more: what is being written stays
    if (storing) store();
    prune();
    E.key = key;
    E.base = content(base);
    const before = load(key);
    const doc = before && content(before.doc) !== E.base ? before.doc : shown;
    const more = others(shown)[0];
    E.bar = doc === shown ? (more ? { other: more.other, time: more.time, doc: more.doc } : null) : { own: shown, time: before.time };
    begin(doc, key, told.done);
    if (told.draft) store();
  };

  E.keep = () => { E.bar = null; E.draw('fields'); };
  E.discard = () => {
    const { own, other } = E.bar;
    E.bar = null;
    drop(other || E.key);
    if (own) begin(own, E.key); else E.draw('fields');
  };
  E.showOther = () => {
    const old = load(E.bar.other);
    store();
    E.base = old.base;
    const key = E.bar.other.replace(/#\w+/, `#${tab}`); // from now on this tab's
    if (key !== E.bar.other) drop(E.bar.other);
    E.bar = null;
    begin(old.doc, key);
    store();
  };

  E.read = () => { E.turn += 1; return JSON.stringify({ ...E.doc, turn: E.turn }); };
  E.tell = (text) => {
    if (!text || !E.doc) return;
    const told = JSON.parse(text);
    if (told.turn < (E.seen.turn || 0)) return; // late
    if (told.run_model) {
      // A new prompt takes the model that the picker begins with; a version that names none goes on naming none.
      if (!E.doc.made_from && !E.doc.model) { const plain = !E.changed(); E.doc.model = told.run_model; if (plain) E.base = content(E.doc); }
      else E.doc.run_model = told.run_model;
    }
    // While a template is wrong, the fields of its variables stay.
    const { variables = E.seen.variables || told.known, preview = E.seen.preview, missing = E.seen.missing } = told;
    E.seen = { ...told, variables, preview, missing };
    E.draw('seen');
  };

  E.choose = (model) => {
    if (!model || model.startsWith('!')) {
      E.note('Add a key in Settings, or start the server that it needs; then it can be chosen here.');
      parley.fire('editor_model');
      return;
    }
    E.doc.model = model;
    E.touch();
  };
  E.model = () => E.doc.model || E.doc.run_model;

  E.run = () => {
    if (!E.doc || E.running || E.button()?.disabled) return;
    E.running = true;
    document.getElementById('editor').classList.add('answered');
    E.draw('seen');
    parley.fire('editor_run');
  };
  E.stop = () => {
    parley.fire('editor_stop');
    stopping = setTimeout(E.rest, 5000); // should the server have gone away
  };
  E.rest = () => { clearTimeout(stopping); E.running = false; E.draw('seen'); };

  // Saving: first the difference, then the message, then the new version.
  E.save = () => { if (E.doc && !E.locked && !E.saving) { E.saving = true; E.draw('foot'); parley.fire('editor_review'); } };
  E.answered = () => {
    E.saving = false;
    E.draw('foot');
    const yes = dialog && dialog.querySelector('.ask-yes');
    if (yes) yes.disabled = false;
  };
  E.review = (text) => {
    if (!text) return;
    const told = JSON.parse(text);
    if (told.error) {
      const place = dialog && dialog.querySelector('.trouble');
      if (place) { place.textContent = told.error; place.hidden = false; }
      return;
    }
    if (dialog) dialog.close();
    dialog = E.ask(told, (change) => parley.fire('editor_save', { change }));
    dialog.addEventListener('close', () => { dialog = null; });
  };
  E.download = () => parley.fire('editor_file');

  E.inside = (target) => Boolean(target.closest && target.closest('#editor, #editor-foot'));
  document.addEventListener('keydown', (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === 'Enter' && E.inside(event.target)) { E.run(); event.preventDefault(); }
    else if (command && event.key.toLowerCase() === 's' && E.inside(event.target)) { E.save(); event.preventDefault(); }
    else if (event.key === 'Escape' && E.running && E.inside(event.target) && !event.target.closest('#editor-model')) E.stop();
  });
  // A key that was set in Settings makes more models: ask again when the editor comes back into view.
  let visible = false;
  E.watch = (element) => new IntersectionObserver(([entry]) => {
    if (entry.isIntersecting && !visible && E.doc) {
      E.regrow(); // what is not shown has no height
      if (E.seen.turn) parley.fire('editor_arrived');
    }
    visible = entry.isIntersecting;
  }).observe(element);

  parley.editor = E;
})();
