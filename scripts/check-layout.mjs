// Rules that no linter knows: lengths of C++ files, who may include what, one loader of the addon.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const files = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' })
  .stdout.split('\n')
  .filter(Boolean);
const problems = [];
const rule = (pattern, check) => {
  for (const file of files.filter((name) => pattern.test(name)))
    check(file, readFileSync(file, 'utf8'));
};

rule(/^native\/.*\.(cc|cpp|h|cu|cuh)$/, (file, text) => {
  const lines = text.split('\n').length;
  if (lines > 500) problems.push(`${file}: ${lines} lines, at most 500 are allowed`);
  if (/#include [<"]napi/.test(text) && !file.startsWith('native/binding/')) {
    problems.push(`${file}: only native/binding may include napi.h`);
  }
  if (/\bcuda[A-Z]\w+\(|#include <cuda/.test(text) && !file.startsWith('native/cuda/')) {
    problems.push(`${file}: only native/cuda may call CUDA`);
  }
});
rule(/\.ts$/, (file, text) => {
  if (/\.node['"`]/.test(text) && !file.startsWith('native/') && !file.startsWith('test/')) {
    problems.push(`${file}: only native/ may load the addon`);
  }
});
rule(/\.(ts|mjs|js|json|sh|md|yml|yaml|cc|h|txt|py)$/, (file, text) => {
  if (/(^|[\s"'`(=])\/(work|home|root|Users)\/[a-z]/m.test(text))
    problems.push(`${file}: names an absolute path of a machine`);
});

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
