// The page's own few manners: addresses, keys, and clicks inside of messages.
// Everything that matters happens on the server; nothing here is kept but the choice of the theme.
window.parley = (() => {
  const address = new URLSearchParams(location.search);
  const THEME = 'parley-theme';
  let ready = false;
  const bridges = {}; // what hands a click to the server, by its name
  let waiting = null; // resolves the copy that waits for its text

  const withAddress = (change, step = false) => {
    const url = new URL(location);
    change(url.searchParams);
    url.search = url.searchParams.toString().replaceAll('%2F', '/'); // names of prompts stay readable
    if (step) history.pushState(null, '', url); else history.replaceState(null, '', url);
  };
  let linked = ['light', 'dark'].find((name) => name === address.get('__theme')); // for one who never chose
  const stored = () => { try { return localStorage.getItem(THEME) || linked || 'system'; } catch { return linked || 'system'; } };
  // This runs after Gradio has started. The address keeps the choice too, because Gradio reads it before it draws.
  const paint = () => {
    const choice = stored();
    const dark = choice === 'dark' || (choice === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
    if (document.body.classList.contains('dark') !== dark) document.body.classList.toggle('dark', dark);
    document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
    const shown = new URLSearchParams(location.search).get('__theme');
    if (shown !== (choice === 'system' ? null : choice)) {
      withAddress((q) => { if (choice === 'system') q.delete('__theme'); else q.set('__theme', choice); });
    }
  };
  paint();
  new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTimeout(paint, 0));

  // The browser's Back and Forward go from conversation to conversation.
  window.addEventListener('popstate', () => {
    const id = new URL(location).searchParams.get('chat') || '';
    if (id === P.chat) return;
    if (id) fire('open_chat', { id, turn: '' }); else fire('new_chat', {});
  });

  const busy = () => Boolean(document.querySelector('#busy i'));
  const box = () => document.querySelector('#box textarea');
  const fire = (name, data) => { if (bridges[name]) bridges[name](name, data || {}); };

  const P = {
    tab: address.get('tab') || '',
    chat: address.get('chat') || '',
    listen(names, trigger) { names.forEach((name) => { bridges[name] = trigger; }); },
    fire,
    busy,
    withAddress,

    showTab(id) {
      // The tab that happens to be first selects itself before the one that was asked for.
      if (!ready) { ready = id === P.tab || !P.tab; if (!ready) return []; }
      withAddress((q) => q.set('tab', id));
      document.body.dataset.tab = id;
      return [];
    },
    setChat(id) {
      P.chat = id || '';
      const before = new URL(location).searchParams.get('chat') || '';
      withAddress((q) => { if (id) q.set('chat', id); else q.delete('chat'); }, before !== P.chat);
      P.setOpen('side', false);
    },
    theme: stored,
    setTheme(choice) {
      linked = null;
      try { if (choice === 'system') localStorage.removeItem(THEME); else localStorage.setItem(THEME, choice); } catch { /* private window */ }
      paint();
    },
    // The drawers: "side" and "options".
    isOpen: (name) => document.getElementById('chat-page')?.dataset[name] === 'open',
    setOpen(name, open) {
      const page = document.getElementById('chat-page');
      if (!page) return;
      page.dataset[name] = open ? 'open' : '';
      if (open) document.getElementById(name).querySelector('input, textarea, button')?.focus();
    },
    focusBox() { const area = box(); if (area) { area.focus(); area.setSelectionRange(area.value.length, area.value.length); } },
    // The turn that a search found, brought into view.
    reveal(turn) {
      if (!turn) return;
      setTimeout(() => {
        const found = [...document.querySelectorAll('[data-turn]')].find((e) => e.dataset.turn === turn);
        const row = found && found.closest('.message-row');
        if (row) { row.scrollIntoView({ block: 'center' }); row.classList.add('found'); }
      }, 400);
    },
    copied(value) { if (waiting) { waiting(value); waiting = null; } },
    // From one tab to another: a click on the tab, then what it is to do.
    goTo(tab, name, data) {
      if (!bridges[name]) P.handed = { name, data }; // a tab that was never open takes it when it is there
      document.querySelector(`#page-${tab}-button`)?.click();
      fire(name, data);
    },
    draftPrompt(content) { if (content) P.goTo('prompts', 'draft_prompt', { content }); },
    save(packed) {
      if (!packed) return;
      const { name, type, text } = JSON.parse(packed);
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob([text], { type }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    },
  };

  const copyText = async (button, turn) => {
    const text = new Promise((resolve) => { waiting = resolve; });
    fire('want_text', { turn });
    try {
      if (window.ClipboardItem && navigator.clipboard) {
        // The promise goes in as it is, because the permission of the click would be gone when the text arrives.
        await navigator.clipboard.write([new ClipboardItem({ 'text/plain': text.then((t) => new Blob([t], { type: 'text/plain' })) })]);
      } else {
        const area = document.createElement('textarea');
        area.value = await text;
        document.body.append(area); area.select(); document.execCommand('copy'); area.remove();
      }
      button.classList.add('done');
      setTimeout(() => button.classList.remove('done'), 1500);
    } catch { button.classList.add('refused'); }
  };

  const rate = (button, turn, value) => {
    const on = button.getAttribute('aria-pressed') === 'true';
    button.parentElement.querySelectorAll('[aria-pressed]').forEach((b) => b.setAttribute('aria-pressed', 'false'));
    button.setAttribute('aria-pressed', String(!on));
    fire('rate_turn', { turn, value: on ? '0' : value });
  };

  const LOCAL = {
    copy: (button, data) => copyText(button, data.turn),
    rate: (button, data) => rate(button, data.turn, data.value),
    menu: (button, data) => P.menu(button, data),
    show_prompt: (button, data) => P.goTo('prompts', 'open_prompt', data),
    prompt_examples: () => document.querySelectorAll('#prompt-fields [data-example]').forEach((field) => {
      if (!field.value) { field.value = field.dataset.example; field.dispatchEvent(new Event('input', { bubbles: true })); }
    }),
    drawer: (button, data) => P.setOpen(data.name, !P.isOpen(data.name)),
  };

  // What stands in the fields of a prompt's variables goes along with the next question.
  document.addEventListener('input', (event) => {
    if (!event.target.closest('#prompt-fields')) return;
    const values = {};
    document.querySelectorAll('#prompt-fields [data-variable]').forEach((field) => { values[field.dataset.variable] = field.value; });
    P.keepValues(JSON.stringify(values));
  });

  document.addEventListener('click', (event) => {
    const element = event.target.closest('[data-do]');
    if (!element || element.closest('.md')) return; // never from inside of what a model wrote
    const { do: name, ...data } = element.dataset;
    if (LOCAL[name]) LOCAL[name](element, data);
    else fire(name, data);
  });

  // A click into a picker marks its text: what is typed next searches instead of landing inside the label.
  let entered = null;
  document.addEventListener('focusin', (event) => { entered = event.target; });
  document.addEventListener('click', (event) => {
    if (event.target === entered && entered.matches('#model input, #prompt-ref input, #editor-model input')) entered.select();
    entered = null;
  });

  document.addEventListener('keydown', (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    const command = event.ctrlKey || event.metaKey;
    if (event.altKey && event.key >= '1' && event.key <= '9') {
      const tab = document.querySelectorAll('#main > .tab-wrapper [role=tab]')[event.key - 1];
      if (tab) { tab.click(); event.preventDefault(); }
    } else if (command && event.key === 'Enter' && event.target.closest('dialog')) {
      event.target.closest('form')?.requestSubmit();
    } else if (command && event.key === 'Enter' && event.target === box()) {
      const send = document.querySelector('#box .submit-button');
      if (send && !send.disabled) { send.click(); event.preventDefault(); }
    } else if ((command && event.key.toLowerCase() === 'k') || (event.key === '/' && !typing)) {
      const search = document.querySelector('#search input, #search textarea');
      if (search) { P.setOpen('side', true); search.focus(); event.preventDefault(); }
    } else if (event.key === 'Escape' && !document.querySelector('dialog[open]')) {
      if (document.querySelector('ul.option-list')) return; // an open list closes itself
      if (P.isOpen('options')) P.setOpen('options', false);
      else if (P.isOpen('side')) P.setOpen('side', false);
      else if (busy()) document.querySelector('#box .stop-button').click();
      else if (document.querySelector('#editing button')) document.querySelector('#editing button').click();
    }
  });

  // A server that was stopped in good order closes its streams without an error, and Gradio would wait for ever.
  setInterval(async () => {
    const config = window.gradio_config;
    if (!busy() || !config) return;
    try {
      const answer = await fetch(`${config.root}${config.api_prefix}/app_id`, { signal: AbortSignal.timeout(3000) });
      if (answer.ok && String((await answer.json()).app_id) !== String(config.app_id)) location.reload();
    } catch { /* down at the moment; the next look tells */ }
  }, 4000);

  return P;
})();
