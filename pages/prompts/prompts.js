// The Prompts tab: its address, its views, its menus and the window about a label. What matters happens on the server.
(() => {
  const address = () => new URLSearchParams(location.search);
  const page = () => document.getElementById('prompts-page');
  const head = () => document.querySelector('#prompt-head .prompt-head');
  const shown = () => document.body.dataset.tab === 'prompts';
  const VIEWS = ['edit', 'versions', 'labels', 'use'];
  const EVERY = 3000; // milliseconds between two looks at whether files have changed
  let place = null; // what the address says of the prompt in view; null before the tab was opened
  let picked = null; // the two versions that were chosen to be compared, until another one is opened
  let asking = false; // whether the window about a label is wanted

  // Address
  const refOf = (query) => {
    const name = query.get('prompt') || '';
    const version = query.get('version') || '';
    return name && version ? `${name}@${version}` : name;
  };
  const write = parley.withAddress;
  parley.setPrompt = (next) => {
    const before = place;
    place = next || '';
    picked = null;
    const [name, version] = place.split('@');
    const step = before !== null && refOf(address()) !== place;
    write((query) => {
      if (name) query.set('prompt', name); else query.delete('prompt');
      if (version) query.set('version', version); else query.delete('version');
    }, step);
    document.querySelectorAll('#prompt-list .prompt').forEach((row) => {
      if (row.dataset.name === name && name) row.setAttribute('aria-current', 'true'); else row.removeAttribute('aria-current');
    });
    setDrawer(false);
    if (!name) setView('edit');
  };
  window.addEventListener('popstate', () => {
    const tab = address().get('tab');
    if (tab && tab !== document.body.dataset.tab && [tab, document.body.dataset.tab].includes('prompts')) {
      document.querySelector(`#page-${tab}-button`)?.click();
    }
    if (place === null || tab !== 'prompts') return;
    parley.showReport(false);
    setView(address().get('view'), true);
    const ref = refOf(address());
    if (ref === place) return;
    if (ref) parley.fire('open_prompt', { ref }); else parley.fire('new_prompt', {});
  });

  // What is asked for when the tab is opened: the first time a prompt, later only whether the list is still true.
  parley.arriveAtPrompts = () => {
    if (place !== null) return JSON.stringify({ first: false });
    place = refOf(address());
    const handed = parley.handed || {};
    parley.handed = null;
    watch();
    const wanted = handed.name === 'open_prompt' ? handed.data.ref : place;
    setView(handed.name ? 'edit' : address().get('view'), true);
    return JSON.stringify({ first: true, ref: wanted, draft: handed.name === 'draft_prompt' ? handed.data.content : '' });
  };

  // Until then a click would be undone by the first drawing, so there is nothing to click at.
  parley.arrivedAtPrompts = () => { if (page()) page().dataset.ready = 'yes'; };

  // Views
  const mark = () => {
    const view = page()?.dataset.view || 'edit';
    document.querySelectorAll('#prompt-head [role=tab]').forEach((tab) => {
      const on = tab.dataset.view === view;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
    });
  };
  const setView = (wanted, quiet) => {
    if (!page()) { setTimeout(() => setView(wanted, quiet), 30); return; }
    const view = VIEWS.includes(wanted) ? wanted : 'edit';
    page().dataset.view = view;
    mark();
    if (!quiet) write((query) => { if (view === 'edit') query.delete('view'); else query.set('view', view); }, false);
  };
  parley.promptView = (view) => setView(view);
  // Side by side needs room; on a phone the style sheet shows one below the other whatever is chosen.
  const markWays = () => {
    const way = page()?.dataset.diff || 'inline';
    document.querySelectorAll('#prompt-diff .ways button').forEach((one) => one.setAttribute('aria-pressed', String(one.dataset.way === way)));
  };
  // What was redrawn because something changed in the folder looks as it was left.
  const markPair = () => {
    const { name, old, new: other } = picked || document.querySelector('#prompt-diff .diff')?.dataset || {};
    if (!name || document.querySelector('#prompt-views .versions')?.dataset.name !== name) return;
    [['old', old], ['new', other]].forEach(([side, number]) => {
      const radio = document.querySelector(`#prompt-views input[name=compare-${side}][value="${number}"]`);
      if (radio && !radio.checked) radio.checked = true;
    });
  };
  const unfolded = {};
  let focused = null;
  const markList = () => {
    document.querySelectorAll('#prompt-list details').forEach((one) => { if (unfolded[one.className]) one.open = true; });
    if (focused && document.activeElement === document.body) {
      [...document.querySelectorAll('#prompt-list .prompt')].find((row) => row.dataset.name === focused)?.focus({ preventScroll: true });
    }
  };
  document.addEventListener('toggle', (event) => {
    if (event.target.closest?.('#prompt-list') && event.target.isConnected) unfolded[event.target.className] = event.target.open;
  }, true);
  document.addEventListener('focusin', (event) => { focused = event.target.closest('#prompt-list .prompt')?.dataset.name || null; });
  const watch = () => {
    const drawn = { 'prompt-head': mark, 'prompt-diff': markWays, 'prompt-views': markPair, 'prompt-list': markList };
    const places = Object.keys(drawn).map((id) => document.getElementById(id));
    if (places.includes(null)) { setTimeout(watch, 30); return; }
    places.forEach((one) => new MutationObserver(drawn[one.id]).observe(one, { childList: true, subtree: true }));
    if (innerWidth > 1180) page().dataset.diff = 'split';
    mark();
  };

  // The list, a drawer on a phone
  const setDrawer = (open) => { if (page()) page().dataset.list = open ? 'open' : ''; };
  const search = () => document.querySelector('#prompt-search input, #prompt-search textarea');
  const look = () => {
    const list = document.querySelector('#prompt-list [data-generation]');
    if (list && shown() && document.visibilityState === 'visible' && !document.querySelector('dialog[open]')) {
      parley.fire('look_prompts', { seen: list.dataset.generation });
    }
  };
  // What was on its way while another version was opened may come after it.
  parley.looked = (here) => { if (here && head()?.dataset.ref && head().dataset.ref !== here) parley.fire('look_prompts', { seen: '' }); };
  setInterval(look, EVERY);
  window.addEventListener('focus', look);
  document.addEventListener('visibilitychange', look);

  // The window about a label
  const window_ = () => document.querySelector('dialog.ask.label-ask');
  const filled = (form) => ({
    name: form.querySelector('[data-name]').dataset.name,
    expect: form.querySelector('[data-name]').dataset.expect,
    label: form.elements.label.value.trim(),
    to: form.elements.to.value,
    why: form.elements.why.value,
  });
  const openAsk = (html) => {
    const form = parley.element('form', { method: 'dialog' });
    const dialog = parley.element('dialog', { class: 'ask label-ask', 'aria-label': 'Label', onclose: () => { asking = false; dialog.remove(); } }, form);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      form.querySelector('.ask-yes').disabled = true;
      parley.fire('move_label', filled(form));
    });
    form.addEventListener('change', (event) => {
      if (event.target.name !== 'why') parley.fire('ask_label', filled(form));
    });
    dialog.addEventListener('click', (event) => { if (event.target === dialog || event.target.value === 'cancel') dialog.close(); });
    document.querySelector('.gradio-container').append(dialog);
    form.innerHTML = html;
    dialog.showModal();
    const first = form.querySelector('input[name=label]:not([type=hidden])');
    (first && !first.value ? first : form.elements.why).focus();
  };
  parley.showAsk = (html) => {
    const dialog = window_();
    if (!html) { dialog?.close(); return; }
    if (!asking) return;
    if (!dialog) { openAsk(html); return; }
    const form = dialog.querySelector('form');
    const { why } = filled(form);
    const focus = document.activeElement?.name;
    form.innerHTML = html;
    if (why) form.elements.why.value = why;
    if (focus && form.elements[focus]) form.elements[focus].focus();
  };

  // Menus
  const copy = async (text) => {
    const url = location.origin + location.pathname.replace(/\/$/, '');
    const whole = text.replaceAll('{address}', url).replaceAll('{model}', parley.editor?.model() || 'maker/model');
    try {
      await navigator.clipboard.writeText(whole);
    } catch {
      const area = parley.element('textarea', {});
      area.value = whole;
      document.body.append(area); area.select(); document.execCommand('copy'); area.remove();
    }
    const say = (word) => { const button = document.querySelector('#prompt-head [data-do=prompt_copy]'); if (button) button.textContent = word; };
    say('Copied');
    setTimeout(say, 1500, 'Copy');
  };
  const formats = () => JSON.parse(document.querySelector('#prompt-export [data-formats]').dataset.formats);
  // To the chat, with one model or with several. Its pickers change when the prompt has come.
  const handOver = (several) => {
    const { ref, values } = head().dataset;
    parley.goTo('chat', 'use_prompt', { ref, values });
    const other = several ? 'Compare' : 'Single model'; // what the button says when it has to be pressed
    let left = 50;
    const wait = setInterval(() => {
      const came = [...document.querySelectorAll('#prompt-fields [data-ref]')].some((one) => one.dataset.ref === ref);
      const compare = document.getElementById('compare');
      left -= 1;
      if (!came && left) return;
      clearInterval(wait);
      if (came && compare && compare.textContent.trim() === other) compare.click();
      if (came && several) setTimeout(() => document.querySelector('#models input')?.focus(), 600);
    }, 100);
  };
  const LOCAL = {
    prompt_drawer: () => { const open = page().dataset.list !== 'open'; setDrawer(open); if (open) search()?.focus(); },
    prompt_view: (button) => setView(button.dataset.view),
    prompt_chat: () => handOver(false),
    prompt_compare: () => handOver(true),
    prompt_diff: (button) => { page().dataset.diff = button.dataset.way; markWays(); },
    diff_fold: (button) => button.setAttribute('aria-expanded', String(button.getAttribute('aria-expanded') !== 'true')),
    prompt_copy: (button) => {
      const { python, curl, ref } = head().dataset;
      const to = (format) => () => parley.fire('export_prompt', { ref, format });
      parley.popup(button, 'Copy', [
        ['Copy as Python', () => copy(python)],
        ['Copy as curl', () => copy(curl)],
        ['Copy its name', () => copy(ref)],
        null,
        [`Download v${ref.split('@')[1]} as YAML`, to('file')],
        ...formats().filter(([, , alone]) => alone).map(([format, label]) => [`Download as ${label}`, to(format)]),
        null,
        ...formats().filter(([, , alone]) => !alone).map(([format, label]) => [`All versions: ${label.replace('Registry as ', '')}`, to(format)]),
      ]);
    },
    prompt_export_all: (button) => parley.popup(button, 'Export all prompts',
      formats().map(([format, label]) => [label, () => parley.fire('export_prompts', { format })])),
    prompt_restore: (button, { name, number }) => parley.ask('Put the original back?',
      [parley.element('p', {}, `v${number} of ${name} becomes what it was when it was saved. What was written into the file by hand is gone; save it as a new version first to keep it.`)],
      'Put it back', true, () => parley.fire('restore_prompt', { name, number })),
    prompt_take: () => parley.fire('import_prompts', { labels: document.querySelector('#prompt-report [name=labels]')?.checked ? 'on' : '' }),
    prompt_label: (button, { label, number }) => {
      const { ref, name } = head().dataset;
      asking = true;
      parley.fire('ask_label', { name, label: label || '', to: number || ref.split('@')[1], why: '', expect: '' });
    },
  };
  document.addEventListener('click', (event) => {
    const element = event.target.closest?.('#prompts-page [data-do], dialog [data-do=diff_fold]');
    if (!element) return;
    const { do: name, ...data } = element.dataset;
    if (LOCAL[name]) LOCAL[name](element, data);
    if (['new_prompt', 'draft_problem'].includes(name)) setView('edit');
    if (['open_prompt', 'new_prompt', 'draft_problem', 'cancel_import'].includes(name)) {
      parley.showReport(false);
      setDrawer(false);
    }
  });
  document.addEventListener('change', (event) => {
    const kind = event.target.dataset?.change;
    if (kind === 'version') parley.fire('open_prompt', { ref: event.target.value });
    if (kind === 'compare') {
      const at = event.target.closest('[data-name]');
      const side = (name) => at.querySelector(`input[name=compare-${name}]:checked`)?.value || '';
      picked = { name: at.dataset.name, old: side('old'), new: side('new') };
      parley.fire('compare_versions', picked);
    }
  });
  parley.showReport = (on) => { if (page()) { if (on) page().dataset.report = 'open'; else delete page().dataset.report; } };
  parley.packed = (text) => {
    if (!text) return;
    const { name, type, base64 } = JSON.parse(text);
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const link = parley.element('a', { href: URL.createObjectURL(new Blob([bytes], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // Keys. This listens before the chat's, which takes the same ones for its own search.
  document.addEventListener('keydown', (event) => {
    if (!shown() || document.querySelector('dialog[open], .menu')) return;
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    const command = event.ctrlKey || event.metaKey;
    if ((command && event.key.toLowerCase() === 'k') || (event.key === '/' && !typing && !command)) {
      setDrawer(true);
      search()?.focus();
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === 'Escape' && page()?.dataset.list === 'open') {
      setDrawer(false);
      event.stopPropagation();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const step = event.key === 'ArrowDown' ? 1 : -1;
      const rows = [...document.querySelectorAll('#prompt-list .prompt')];
      const at = rows.indexOf(document.activeElement);
      if (at < 0 && !(event.target === search() && step === 1)) return;
      if (at === 0 && step === -1) search()?.focus(); else rows[at + step]?.focus();
      event.preventDefault();
    } else if ((event.key === 'ArrowLeft' || event.key === 'ArrowRight') && event.target.matches?.('#prompt-head [role=tab]')) {
      const tabs = [...document.querySelectorAll('#prompt-head [role=tab]')];
      const next = tabs[(tabs.indexOf(event.target) + (event.key === 'ArrowRight' ? 1 : -1) + tabs.length) % tabs.length];
      setView(next.dataset.view);
      next.focus();
      event.preventDefault();
    }
  }, true);
})();
