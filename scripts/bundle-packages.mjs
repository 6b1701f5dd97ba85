// Puts packages that consist of hundreds of small modules into dist/node_modules as a few files,
// where the compiled code finds them first: loading the modules one by one is most of the time a
// process takes to start. Types, and tools that read the sources, keep to node_modules.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const packages = ['typebox', '@fastify/type-provider-typebox', 'kysely', 'openai', 'jose'];
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, 'dist', 'node_modules');

/** Everything a package exports; of one that exports by patterns, its main entry alone. */
function exportsOf(name) {
  const manifest = readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8');
  const paths = Object.keys(JSON.parse(manifest).exports);
  return paths.some((path) => path.includes('*')) ? ['.'] : paths;
}

const fileOf = (path) => (path === '.' ? 'index' : path.slice(2));

rmSync(output, { recursive: true, force: true });
await build({
  root,
  configFile: false,
  publicDir: false,
  logLevel: 'warn',
  ssr: { noExternal: true },
  build: {
    ssr: true,
    target: 'node20',
    outDir: output,
    minify: false,
    rollupOptions: {
      // One build for all of them: what they share must stay one module.
      input: Object.fromEntries(
        packages.flatMap((name) =>
          exportsOf(name).map((path) => [`${name}/${fileOf(path)}`, join(name, path)]),
        ),
      ),
      preserveEntrySignatures: 'strict',
      output: { entryFileNames: '[name].mjs', chunkFileNames: '.shared/[name]-[hash].mjs' },
    },
  },
});
for (const name of packages) {
  const entries = exportsOf(name).map((path) => [path, `./${fileOf(path)}.mjs`]);
  mkdirSync(join(output, name), { recursive: true });
  writeFileSync(
    join(output, name, 'package.json'),
    JSON.stringify({ name, type: 'module', exports: Object.fromEntries(entries) }),
  );
}
