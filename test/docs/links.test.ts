import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import { projectRoot } from '../../src/paths.js';
import { anchors, pages } from './markdown.js';

t.test('no link of the documentation leads nowhere', async (t) => {
  const all = pages();
  const anchorsOf = new Map(all.map((page) => [page.file, anchors(page)]));
  let checked = 0;
  for (const { file, prose } of all) {
    for (const [index, line] of prose.entries()) {
      const written = line.replace(/`[^`]*`/g, '');
      for (const [, target] of written.matchAll(/\]\(<?([^)\s>]+)>?\)/g)) {
        if (/^[a-z]+:/.test(target!)) continue;
        checked++;
        const [path, anchor] = target!.split('#') as [string, string?];
        const linked = path === '' ? file : normalize(join(dirname(file), path));
        const where = `${file}:${index + 1}: ${target}`;
        if (!existsSync(join(projectRoot, linked))) t.fail(where);
        else if (anchor !== undefined && anchorsOf.get(linked)?.has(anchor) !== true)
          t.fail(`${where}: no such heading`);
      }
    }
  }
  t.ok(checked > 50, `${checked} links`);
});

t.test('every page of docs/ can be reached from README.md', async (t) => {
  const all = new Map(pages().map((page) => [page.file, page]));
  const reached = new Set<string>();
  const visit = (file: string) => {
    const page = all.get(file);
    if (page === undefined || reached.has(file)) return;
    reached.add(file);
    for (const [, target] of page.prose.join('\n').matchAll(/\]\(([^)#\s]+)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const linked = normalize(join(dirname(file), target!)).replace(/\/$/, '');
      visit(linked);
      // a link to a folder shows its pages
      for (const other of all.keys()) if (dirname(other) === linked) visit(other);
    }
  };
  visit('README.md');
  t.same(
    [...all.keys()].filter((file) => file.startsWith('docs/') && !reached.has(file)),
    [],
  );
});

t.test('files and folders that the documentation names exist', async (t) => {
  const rooms = 'src|worker|native|weights|web|bench|scripts|test|docs|deploy';
  for (const { file, prose } of pages()) {
    for (const [index, line] of prose.entries()) {
      for (const [, path] of line.matchAll(new RegExp(`\`((?:${rooms})/[\\w./-]*)\``, 'g'))) {
        const exists = [path!, `${path}.ts`].some((one) => existsSync(join(projectRoot, one)));
        // what set-up and imports make may be missing
        if (!exists && !/^(weights\/[\w-]+$|native\/build)/.test(path!))
          t.fail(`${file}:${index + 1}: ${path}`);
      }
    }
  }
  t.end();
});
