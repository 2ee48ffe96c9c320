// The editor's fields, drawn from what parley.editor holds. Texts are set as texts, never as HTML.
(() => {
  const E = parley.editor;
  const ROLES = { system: 'System', user: 'User', assistant: 'Assistant' };

  const make = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    if (/^(textarea|select)$/.test(tag) || (tag === 'input' && attributes.type === 'text')) made.classList.add('control');
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
      else if (name === 'value') made.value = value;
      else if (name === 'class') made.classList.add(...value.split(' ').filter(Boolean));
      else if (value === true) made.setAttribute(name, '');
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const icon = (name, label, onclick, disabled) =>
    make('button', { type: 'button', class: `icon ${name}`, 'aria-label': label, title: label, onclick, disabled });
  const word = (label, onclick) => make('button', { type: 'button', class: 'word', onclick }, label);
  const plain = (label, onclick, more) => make('button', { type: 'button', class: 'plain', onclick, ...more }, label);
  const hint = (text) => make('p', { class: 'hint' }, text);

  // A text field that grows with what is in it. `place` is the object that holds the text under `name`.
  const grow = (area) => { area.style.height = 'auto'; area.style.height = `${area.scrollHeight + 2}px`; };
  const area = (place, name, attributes, redraw) => make('textarea', {
    rows: 1, spellcheck: false, value: place[name], ...attributes,
    oninput: ({ target }) => { place[name] = target.value; grow(target); E.touch(redraw); },
  });
  const line = (place, name, attributes) => make('input', {
    type: 'text', autocomplete: 'off', spellcheck: false, value: place[name], ...attributes,
    oninput: ({ target }) => { place[name] = target.value; E.touch(); },
  });
  // What is wrong stands beside the label, not in it: it must not become part of the field's name.
  const field = (label, control, more) => make('div', { class: 'field' }, make('label', {}, make('span', { class: 'caption' }, label), control), more || null);
  const choice = (place, name, options, attributes) => make('select', {
    ...attributes, onchange: ({ target }) => { place[name] = target.value; E.touch(attributes['data-redraw']); },
  }, ...options.map(([value, label]) => make('option', { value, selected: place[name] === value }, label)));
  const trouble = (name) => make('small', { class: 'wrong', 'data-trouble': name, role: 'status' });

  const opened = { about: false, variables: false, examples: false, parameters: false, schema: false };
  const fold = (name, title, ...children) => make('details', {
    class: 'fold', 'data-fold': name, open: opened[name], ontoggle: ({ target }) => { opened[name] = target.open; target.querySelectorAll('textarea').forEach(grow); },
  }, make('summary', {}, make('b', {}, title), make('span', { class: 'count' })), make('div', { class: 'inside' }, ...children));

  const ago = (time) => {
    const minutes = Math.round((Date.now() - time) / 60000);
    if (minutes < 1) return 'from just now';
    if (minutes < 60) return `from ${minutes} minute${minutes === 1 ? '' : 's'} ago`;
    const hours = Math.round(minutes / 60);
    return hours < 24 ? `from ${hours} hour${hours === 1 ? '' : 's'} ago` : `of ${new Date(time).toLocaleDateString()}`;
  };
  const bar = () => {
    if (!E.bar) return null;
    const own = E.bar.own;
    const from = own || !E.bar.doc.made_from ? '' : ` to v${E.bar.doc.made_from}`;
    const text = own ? `Shown are your unsaved changes ${ago(E.bar.time)}.`
      : E.doc.made_from ? `There are unsaved changes${from} ${ago(E.bar.time)}.` : `There is another unsaved prompt ${ago(E.bar.time)}.`;
    return make('div', { class: 'calm draft', role: 'status' }, make('span', {}, text), make('span', { class: 'pair' },
      own ? word('Keep', E.keep) : word('Show', E.showOther), word('Discard', E.discard)));
  };

  const message = (row, at) => {
    const rows = E.doc.messages;
    const move = (to) => () => { rows.splice(to, 0, rows.splice(at, 1)[0]); E.touch(true); };
    const first = rows[0] && rows[0].role === 'system' ? 1 : 0;
    const remove = () => { rows.splice(at, 1); E.touch(true); };
    const name = `${ROLES[row.role]} message`;
    const label = row.role === 'system' ? make('b', {}, 'System')
      : choice(row, 'role', [['user', 'User'], ['assistant', 'Assistant']], { 'aria-label': 'Role', 'data-redraw': true });
    const tools = row.role === 'system' ? [] : [
      icon('left rise', `Move ${name.toLowerCase()} up`, move(at - 1), at <= first),
      icon('right sink', `Move ${name.toLowerCase()} down`, move(at + 1), at === rows.length - 1),
      icon('close', `Remove ${name.toLowerCase()}`, remove),
    ];
    return make('div', { class: `message ${row.role}` },
      make('div', { class: 'across' }, label, make('span', { class: 'tools' }, ...tools)),
      area(row, 'content', { 'aria-label': name, class: 'mono', placeholder: row.role === 'system' ? 'What the model is and how it answers. May be empty.' : 'Text with {{ variables }}' }));
  };
  const add = (role) => () => {
    E.doc.messages.push({ role, content: '' });
    E.touch(true);
    E.places.fields.querySelector('.message:last-of-type textarea')?.focus();
  };

  const examples = () => {
    const rows = E.doc.examples;
    const pairs = rows.map((row, at) => make('div', { class: 'example' },
      field('Input', area(row, 'input', { 'aria-label': `Input of example ${at + 1}` })),
      field('Output', area(row, 'output', { 'aria-label': `Output of example ${at + 1}` })),
      icon('close', `Remove example ${at + 1}`, () => { rows.splice(at, 1); E.touch(true); })));
    return fold('examples', 'Few-shot examples',
      hint('Sent as user and assistant messages after the system message. Plain text: braces mean nothing here.'), ...pairs,
      make('div', { class: 'add' }, plain('Add example', () => { rows.push({ input: '', output: '' }); E.touch(true); }),
        rows.length > 1 ? make('label', { class: 'inline' }, 'Send only the', line(E.doc, 'nearest', { 'aria-label': 'Number of nearest examples', placeholder: 'all', inputmode: 'numeric' }), 'nearest to the question', trouble('nearest')) : null));
  };

  const fields = () => {
    const doc = E.doc;
    if (!doc.messages.length || doc.messages[0].role !== 'system') doc.messages.unshift({ role: 'system', content: '' });
    const about = make('div', { class: 'about-fields' },
      doc.made_from ? null : make('div', { class: 'named' }, field('Name', line(doc, 'name', { placeholder: 'support/refund-reply', maxlength: 150, autocapitalize: 'off' }), trouble('name'))),
      field('Description', area(doc, 'description', { placeholder: 'What it is for, in a sentence', spellcheck: true })),
      field('Tags', line(doc, 'tags', { placeholder: 'support, email' }), trouble('tags')));
    const toggle = make('div', { class: 'segments', role: 'group', 'aria-label': 'Show' }, ...[['Template', false], ['Preview', true]].map(([label, on]) =>
      make('button', { type: 'button', 'aria-pressed': String(E.preview === on), onclick: () => { E.preview = on; E.draw('fields'); E.draw('seen'); } }, label)));
    const shown = E.preview ? make('div', { class: 'preview', 'data-preview': true })
      : make('div', { class: 'messages' }, ...doc.messages.map(message),
        make('div', { class: 'add' }, plain('Add user message', add('user')), plain('Add assistant message', add('assistant'))));
    return [bar(), about,
      make('div', { class: 'across heading' }, make('h2', {}, 'Messages'), toggle),
      shown,
      make('div', { class: 'wrong template-error', 'data-error': true, role: 'status' }),
      fold('variables', 'Variables', make('div', { 'data-variables': true })),
      examples(),
      fold('schema', 'JSON schema of the answer', area(doc, 'answer_schema', { 'aria-label': 'JSON schema', class: 'mono', placeholder: '{"type": "object", "properties": {…}}' }), trouble('schema'))];
  };

  const parameters = () => {
    const set = E.doc.parameters;
    const one = (name, label, placeholder) => make('div', { 'data-fits': name }, field(label, line(set, name, { placeholder, inputmode: 'decimal' }), trouble(name)));
    return fold('parameters', 'Parameters', make('div', { class: 'grid' },
      one('max_tokens', 'Longest answer', 'tokens'), one('temperature', 'Temperature', '0 to 2'), one('top_p', 'Top p', '0 to 1'), one('seed', 'Seed', 'whole number'),
      make('div', { 'data-fits': 'effort' }, field('Effort', choice(set, 'effort', [['default', 'Model’s default']], {}))),
      make('div', { 'data-fits': 'thinking' }, field('Thinking', choice(set, 'thinking', [['default', 'Default'], ['on', 'On'], ['off', 'Off']], {}))),
      make('div', { 'data-fits': 'stop', class: 'wide' }, field('Stop at', area(set, 'stop', { placeholder: 'One text a line; the answer ends before it. \\n is a line break, \\\\ a backslash' }), trouble('stop')))),
    hint(''));
  };
  const values = () => [
    make('h2', { class: 'values-title' }, 'Values'), make('div', { class: 'values', 'data-values': true }),
    make('div', { 'data-asks': true, hidden: true }, field('Message to answer', area(E.doc, 'question', { placeholder: 'What a user could write', spellcheck: true }))),
    parameters()];
  const run = () => [
    make('div', { class: 'runbar' }, make('button', { type: 'button', class: 'go', onclick: () => (E.running ? E.stop() : E.run()) }),
      make('div', { class: 'cost', role: 'status' }, make('span', { 'data-cost': true }), make('small', { class: 'wrong', 'data-bad': true })))];

  const foot = () => {
    const changed = E.changed();
    const from = E.doc.made_from;
    const state = E.locked || (changed ? (from ? `Changed since v${from}` : 'Not saved yet') : from ? `v${from} as it was saved` : 'Not saved yet');
    return [make('div', { class: 'across' },
      make('span', { class: E.locked ? 'standing locked' : changed ? 'standing changed' : 'standing', role: 'status' }, state),
      make('span', { class: 'pair' }, plain('Download as file', E.download),
        make('button', { type: 'button', class: 'plain save', onclick: E.save, disabled: Boolean(E.locked) || E.saving || (from && !changed), title: E.locked || null },
          from ? 'Save as new version' : 'Save')))];
  };

  // What the server said, put into what is drawn already, so that the field that is written in keeps its cursor.
  const later = { fields, run, values, foot };
  E.draw = (part) => {
    if (!E.doc) return;
    for (const [name, build] of Object.entries(later)) {
      const place = E.places[name];
      if (!place || (part && part !== name)) continue;
      place.replaceChildren(...build().filter(Boolean));
      place.querySelectorAll('textarea').forEach(grow);
    }
    if (part !== 'foot') E.fillIn();
  };
  E.regrow = () => document.querySelectorAll('#editor textarea.control').forEach(grow);
  E.mount = (name, element) => {
    E.places[name] = element;
    if (name === 'fields') E.watch(element);
    E.draw(name);
  };
  E.button = () => E.places.run?.querySelector('.go');
  E.parts = { make, icon, word, field, area, line, grow, hint, trouble };
})();
