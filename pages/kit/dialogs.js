// The menu of a conversation, and the small windows that ask for a name or for a yes.
(() => {
  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };

  const ask = (title, body, label, danger, done) => {
    const yes = element('button', { type: 'submit', class: danger ? 'ask-yes danger' : 'ask-yes' }, label);
    const no = element('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
    const form = element('form', { method: 'dialog', onsubmit: () => done(form) },
      element('h2', {}, title), ...body, element('div', { class: 'ask-row' }, no, yes));
    const dialog = element('dialog', { class: 'ask', 'aria-label': title, onclose: () => dialog.remove() }, form);
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    document.body.append(dialog);
    dialog.showModal();
    const first = form.querySelector('input') || yes;
    first.focus();
    if (first.select) first.select();
  };

  const rename = ({ id, title }) => {
    const input = element('input', { name: 'title', value: title, maxlength: '200', 'aria-label': 'Name of the conversation' });
    ask('Rename conversation', [input], 'Rename', false, () => {
      if (input.value.trim()) parley.fire('rename_chat', { id, title: input.value.trim() });
    });
  };
  const remove = ({ id, title }) => ask('Delete conversation?',
    [element('p', {}, `“${title}” will be deleted with all its branches and files. This cannot be undone.`)],
    'Delete', true, () => parley.fire('delete_chat', { id }));

  let open = null;
  const close = () => { if (open) { open.menu.remove(); open.button.setAttribute('aria-expanded', 'false'); open = null; } };

  // A menu below a button. Each entry is [label, action, class], or null for a line.
  parley.popup = (button, title, entries) => {
    const again = open && open.button === button;
    close();
    if (again) return;
    const item = ([label, action, kind]) =>
      element('button', { role: 'menuitem', class: kind || '', onclick: () => { close(); action(); } }, label);
    const menu = element('div', { class: 'menu', role: 'menu', 'aria-label': title },
      ...entries.map((entry) => (entry ? item(entry) : element('hr'))));
    document.body.append(menu);
    const at = button.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${Math.max(8, Math.min(at.bottom + 4, innerHeight - menu.offsetHeight - 8))}px`;
    button.setAttribute('aria-expanded', 'true');
    open = { menu, button };
    menu.querySelector('button').focus();
  };

  parley.menu = (button, data) => {
    const to = (format) => () => parley.fire('export_chat', { id: data.id, format });
    parley.popup(button, 'Conversation', [
      ['Rename', () => rename(data)],
      null,
      ...parley.formats.map(([name, label]) => [`Export as ${label}`, to(name)]),
      null,
      ['Delete', () => remove(data), 'danger'],
    ]);
  };
  parley.element = element;
  parley.ask = ask;

  document.addEventListener('click', (event) => {
    if (open && !open.menu.contains(event.target) && !open.button.contains(event.target)) close();
  });
  document.addEventListener('keydown', (event) => {
    if (!open) return;
    const items = [...open.menu.querySelectorAll('button')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape') { const { button } = open; close(); button.focus(); event.stopPropagation(); }
    if (step) { items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus(); event.preventDefault(); }
  }, true);
})();
