// Prints the folder that holds ONNX Runtime's C and C++ headers, fetching them when needed.
//
// The npm package whose library the engine loads (onnxruntime-node) ships no headers, and they do
// not belong in this repository. ONNXRUNTIME_ROOT, the folder of an unpacked official release, is
// used when set; otherwise the headers are taken out of an npm package that carries the official
// ones, checked against the digests below and kept in .cache. The API they declare is append-only,
// so a newer library serves older headers.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = {
  name: 'com.github.asus4.onnxruntime',
  version: '0.4.9',
  folder: 'package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers',
};
const digests = {
  'onnxruntime_c_api.h': 'acc0cf4b3f28d39339c76770d76164bb7a0637dc89f5fde764b4017b632f6743',
  'onnxruntime_cxx_api.h': '9c63ed5bf0427ddf1c10a99aca0beeec77318ce77d2ea6f7ae76d7d933660f67',
  'onnxruntime_cxx_inline.h': 'c508dbb7d8203003a2584b8712118cb88e5b4ef1e1c7876a9974156fb7489301',
  'onnxruntime_ep_c_api.h': 'e6c986c9e98583f8113b2c6bc3864814883b806d501cf24da4d239c45753e235',
  'onnxruntime_error_code.h': '5ce3b054e798eced8d14f5b86e98692fd33470463f96194ce0700a2d53dd8721',
  'onnxruntime_float16.h': '88b242845d25981633a0bbd1c148e273cf8bfb016ea3f57c4af41a06530f72b0',
};

function fail(message) {
  throw new Error(`ONNX Runtime headers: ${message}`);
}

function complete(folder) {
  return Object.entries(digests).every(([name, digest]) => {
    const path = join(folder, name);
    return (
      existsSync(path) && createHash('sha256').update(readFileSync(path)).digest('hex') === digest
    );
  });
}

function run(command, args, cwd) {
  const done = spawnSync(command, args, { cwd, stdio: ['ignore', 'pipe', 2] });
  if (done.status !== 0) fail(`"${command} ${args.join(' ')}" failed`);
}

function download(folder) {
  mkdirSync(dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}-`);
  try {
    console.error(`fetching ONNX Runtime headers from npm (${source.name}, 150 MB, once)`);
    run('npm', ['pack', '--silent', `${source.name}@${source.version}`], temporary);
    const archive = readdirSync(temporary).find((name) => name.endsWith('.tgz'));
    if (archive === undefined) fail('npm pack left no archive');
    const depth = source.folder.split('/').length;
    const members = Object.keys(digests).map((name) => `${source.folder}/${name}`);
    run('tar', ['-xzf', archive, `--strip-components=${depth}`, ...members], temporary);
    rmSync(join(temporary, archive));
    if (!complete(temporary)) fail(`${source.name}@${source.version} holds other files than known`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

export function headersFolder() {
  const named = process.env.ONNXRUNTIME_ROOT;
  if (named) {
    const folder = resolve(named, 'include');
    if (!existsSync(join(folder, 'onnxruntime_cxx_api.h'))) {
      fail(`ONNXRUNTIME_ROOT has no include/onnxruntime_cxx_api.h: ${named}`);
    }
    return folder;
  }
  const folder = join(root, '.cache', 'onnxruntime-headers');
  if (!complete(folder)) download(folder);
  return folder;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(headersFolder());
