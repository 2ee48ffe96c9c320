// What the server says of a draft, put beside its fields: variables, preview, cost, what is wrong; and the window before saving.
(() => {
  const E = parley.editor;
  const { make, icon, field, area, line, grow, hint } = E.parts;
  const find = (selector) => document.querySelector(`:is(#editor, #editor-foot) ${selector}`);
  const put = (selector, text) => { const place = find(selector); if (place && place.textContent !== text) place.textContent = text; };
  const show = (place, on) => { if (place) place.hidden = !on; };

  // Rows by name: those that stay are not touched, so that a field keeps its cursor.
  const rows = (place, list, build) => {
    if (!place) return;
    const there = new Map([...place.children].map((row) => [row.dataset.name, row]));
    list.forEach((one, at) => {
      let row = there.get(one.name);
      if (row && row.dataset.form !== one.form) { row.remove(); row = null; }
      if (!row) { row = build(one); row.dataset.name = one.name; row.dataset.form = one.form; }
      there.delete(one.name);
      if (place.children[at] !== row) place.insertBefore(row, place.children[at] || null);
    });
    there.forEach((row) => row.remove());
    place.querySelectorAll('textarea').forEach(grow);
  };

  // The declaration of a variable; one that was only found in the text has none until it is written in.
  const declared = (one) => {
    const kept = E.doc.variables[one.name];
    if (kept) return kept;
    const { description, default: standard, required, example, is_json, empty_default, empty_example } = one;
    return { description, default: standard, required, example, is_json, empty_default, empty_example };
  };
  const required = (one) => one.needed && !one.empty_default;
  const value = (one) => {
    const values = { get text() { return E.doc.values[one.name] ?? one.start; }, set text(text) { E.doc.values[one.name] = text; } };
    const about = one.description ? make('small', { id: `about-${one.name}` }, one.description) : null;
    return make('div', { class: 'value' }, make('label', { class: 'field' },
      make('span', { class: 'caption' }, make('code', {}, one.name), required(one) ? null : make('i', {}, ' · optional'), one.is_json ? make('i', {}, ' · JSON') : null), about,
      area(values, 'text', { 'aria-label': one.name, placeholder: one.default ? `${one.default} (default)` : 'no value', spellcheck: true, 'aria-describedby': about && about.id })),
    make('small', { class: 'wrong', 'data-missing': one.name }));
  };
  const declaration = (one) => {
    const row = declared(one);
    const write = (control, event) => { control.addEventListener(event, () => { E.doc.variables[one.name] = row; E.touch(); }); return control; };
    const text = (name, label, placeholder) => field(label, write(area(row, name, { 'aria-label': `${label} of ${one.name}`, placeholder }), 'input'));
    const tick = (name, label) => make('label', { class: 'tick' }, write(make('input', {
      type: 'checkbox', checked: row[name], onchange: ({ target }) => { row[name] = target.checked; },
    }), 'change'), label);
    return make('div', { class: 'declaration' },
      make('div', { class: 'across' }, make('code', {}, one.name), one.used ? null : make('span', { class: 'hint' }, 'not used by the template',
        icon('close', `Remove variable ${one.name}`, () => { delete E.doc.variables[one.name]; E.touch(); }))),
      text('description', 'Description', 'What it is'),
      make('div', { class: 'grid' }, text('example', 'Example', 'for preview and tests'), text('default', 'Default', 'none')),
      make('div', { class: 'ticks' }, tick('required', 'Required'), tick('is_json', 'A list, number or object (JSON)'), tick('empty_default', 'No default means empty text')),
      make('small', { class: 'wrong', 'data-trouble': `variable:${one.name}` }));
  };

  const preview = () => {
    const place = find('[data-preview]');
    if (!place) return;
    const list = E.seen.preview || [];
    place.replaceChildren(...list.map((message) => make('div', { class: `message ${message.role}` },
      make('b', {}, { system: 'System', user: 'User', assistant: 'Assistant' }[message.role]),
      make('div', { class: 'said', dir: 'auto' }, ...message.text.split(/(⟨\w+⟩)/).map((piece) => (/^⟨\w+⟩$/.test(piece) ? make('mark', {}, piece) : piece))))));
    if (!list.length) place.append(hint('Nothing to show yet.'));
  };

  const fits = (fit) => {
    for (const place of document.querySelectorAll('#editor [data-fits]')) {
      const name = place.dataset.fits;
      const control = place.querySelector('input, select, textarea');
      const takes = name === 'effort' ? (fit.effort || []).length > 0 : fit[name] !== false;
      show(place, takes || (control.value !== '' && control.value !== 'default'));
      if (name === 'max_tokens') control.placeholder = fit.max_tokens || 'tokens';
      if (name === 'effort') {
        const wished = E.doc.parameters.effort;
        const options = [['default', 'Model’s default'], ...(fit.effort || [])];
        if (!options.some(([id]) => id === wished)) options.push([wished, wished]);
        control.replaceChildren(...options.map(([id, label]) => make('option', { value: id, selected: id === wished }, label)));
      }
    }
    put('[data-fold=parameters] .hint', fit.unused || '');
  };

  E.fillIn = () => {
    if (!E.doc) return;
    const { seen, doc } = E;
    const variables = seen.variables || [];
    const missing = new Set(seen.missing || []);
    const form = (...parts) => JSON.stringify(parts);
    rows(find('[data-values]'), variables.filter((one) => one.used || required(one))
      .map((one) => ({ ...one, form: form(one.description, required(one), one.is_json, one.default, doc.values[one.name] === undefined ? one.start : '') })), value);
    rows(find('[data-variables]'), variables.map((one) => ({ ...one, form: form(one.used) })), declaration);
    show(find('.values-title'), variables.some((one) => one.used || required(one)));
    const known = find('[data-variables]');
    if (known && !variables.length) known.replaceChildren(hint('Write {{ name }} in a message, and name becomes a variable.'));
    document.querySelectorAll('#editor [data-missing]').forEach((place) => { place.textContent = missing.has(place.dataset.missing) ? 'A value is needed.' : ''; });
    put('[data-error]', seen.error || '');
    const troubles = { ...(seen.troubles || {}), name: seen.name || '' };
    document.querySelectorAll('#editor [data-trouble]').forEach((place) => { place.textContent = troubles[place.dataset.trouble] || ''; });
    for (const fold of document.querySelectorAll('#editor details.fold')) {
      const wrong = [...fold.querySelectorAll('[data-trouble]')].some((place) => place.textContent);
      fold.classList.toggle('troubled', wrong);
    }
    put('[data-fold=variables] .count', variables.length ? String(variables.length) : '');
    put('[data-fold=examples] .count', doc.examples.length ? String(doc.examples.length) : '');
    put('[data-fold=schema] .count', doc.answer_schema.trim() ? 'on' : '');
    const set = Object.entries(doc.parameters).filter(([, text]) => text && text !== 'default').length;
    put('[data-fold=parameters] .count', set ? `${set} set` : '');
    const asks = find('[data-asks]');
    if (asks && asks.hidden === Boolean(seen.asks)) { show(asks, seen.asks); asks.querySelectorAll('textarea').forEach(grow); }
    const cost = seen.cost || { line: '', more: '', bad: '' };
    put('[data-cost]', cost.line);
    find('[data-cost]')?.setAttribute('title', cost.more);
    put('[data-bad]', seen.error || cost.bad);
    if (seen.fit) fits(seen.fit);
    preview();
    const go = E.button();
    if (go) {
      go.textContent = E.running ? 'Stop' : 'Run';
      go.classList.toggle('stop', E.running);
      go.title = E.running ? 'Escape' : 'Ctrl+Enter';
      go.disabled = !E.running && (Boolean(seen.error) || !E.model());
    }
  };
  E.note = (text) => put('[data-bad]', text);

  // The window before saving. `told.html` is made by the server, with all texts escaped.
  E.ask = (told, done) => {
    const change = make('textarea', { rows: 2, maxlength: 2000, placeholder: 'What is different, and why', 'aria-label': 'What is different, and why' });
    const yes = make('button', { type: 'submit', class: 'ask-yes' }, told.title);
    const no = make('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
    const body = make('div', { class: 'ask-body' });
    body.innerHTML = told.html;
    const form = make('form', { onsubmit: (event) => { event.preventDefault(); yes.disabled = true; done(change.value); } },
      make('h2', {}, told.heading), body, make('div', { class: 'trouble', role: 'alert', hidden: true }), change,
      make('div', { class: 'ask-row' }, no, yes));
    const dialog = make('dialog', { class: 'ask saving', 'aria-label': told.heading, onclose: () => dialog.remove() }, form);
    form.addEventListener('keydown', (event) => { if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') form.requestSubmit(); });
    document.querySelector('.gradio-container').append(dialog); // so that the styles of the tab hold
    dialog.showModal();
    change.focus();
    return dialog;
  };
})();
