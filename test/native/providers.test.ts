import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { parts } from '../../native/index.js';
import { native } from '../../native/load.js';
import { openModel } from '../../native/model.js';
import { readGraph } from '../../weights/cost/graph.js';
import { testModel } from './clip.js';
import { fullSizeModel } from './full-size.js';

const sizes = { width: 512, height: 512, frames: 12, windows: 2, images: 4 };
const load = 'Failed to load library /lib/libonnxruntime_providers_';
const missing = 'cannot open shared object file: No such file or directory';
const call = (library: string, failure: string) =>
  `Non-zero status code returned while running Conv node. Name:'conv_in' Status Message: /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:129 ${library} failure ${failure} ; GPU=0 ; hostname=render ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=182 ; expr=create(&handle_);`;

// Texts as ONNX Runtime 1.17 to 1.30, its providers and TensorRT 8 to 10 give them.
const failures: [text: string, code: string, advice: RegExp][] = [
  [`${load}shared.so with error: ${missing}`, 'RUNTIME_MISSING', /are not installed|npm run prov/],
  [
    `${load}shared.so with error: /lib/libonnxruntime_providers_shared.so: ${missing}`,
    'RUNTIME_MISSING',
    /npm run providers/,
  ],
  [
    `${load}cuda.so with error: libcublasLt.so.13: ${missing}`,
    'RUNTIME_MISSING',
    /install the CUDA/,
  ],
  [`${load}cuda.so with error: libcufft.so.11: ${missing}`, 'RUNTIME_MISSING', /install the CUDA/],
  [`${load}cuda.so with error: libcudnn.so.9: ${missing}`, 'RUNTIME_MISSING', /install cuDNN 9/],
  [
    `${load}cuda.so with error: libcudnn_adv.so.9: ${missing}`,
    'RUNTIME_MISSING',
    /install cuDNN 9/,
  ],
  [
    `${load}cuda.so with error: libcuda.so.1: ${missing}`,
    'DEVICE_UNAVAILABLE',
    /update the NVIDIA/,
  ],
  [
    `${load}tensorrt.so with error: libnvinfer.so.10: ${missing}`,
    'RUNTIME_MISSING',
    /install the TensorRT.*or use the provider "cuda"/,
  ],
  [
    `${load}tensorrt.so with error: libnvonnxparser.so.10: ${missing}`,
    'RUNTIME_MISSING',
    /install the TensorRT/,
  ],
  [
    `${load}cuda.so with error: /lib/libonnxruntime_providers_cuda.so: undefined symbol: cudnnGetVersion`,
    'RUNTIME_MISSING',
    /another version/,
  ],
  [
    'OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library',
    'RUNTIME_MISSING',
    /npm run providers/,
  ],
  [
    'CUDA execution provider is not enabled in this build. ',
    'RUNTIME_MISSING',
    /npm run providers/,
  ],
  [
    'Could not load library libcudnn_engines_precompiled.so.9. Error: libnvrtc.so.12',
    'RUNTIME_MISSING',
    /cuDNN/,
  ],
  [
    call('CUDNN', '1002: CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED'),
    'RUNTIME_MISSING',
    /install cuDNN 9/,
  ],
  [call('CUDNN', '1001: CUDNN_STATUS_NOT_INITIALIZED'), 'DEVICE_UNAVAILABLE', /nvidia-smi/],
  [call('CUBLAS', '1: CUBLAS_STATUS_NOT_INITIALIZED'), 'DEVICE_UNAVAILABLE', /nvidia-smi/],
  [call('CUBLAS', '3: CUBLAS_STATUS_ALLOC_FAILED'), 'OUT_OF_MEMORY', /smaller pictures/],
  [call('CUDA', '2: out of memory'), 'OUT_OF_MEMORY', /smaller pictures/],
  [
    'onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 8388608000',
    'OUT_OF_MEMORY',
    /fewer context frames/,
  ],
  [
    'onnxruntime::BFCArena::Extend Available memory of 1073741824 is smaller than requested bytes of 3221225472',
    'OUT_OF_MEMORY',
    /free the GPU/,
  ],
  [
    '[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)',
    'OUT_OF_MEMORY',
    /GPU/,
  ],
  [
    "Non-zero status code returned while running Mul node. Name:'a' Status Message: CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device",
    'DEVICE_UNSUPPORTED',
    /no code for this GPU's architecture/,
  ],
  [
    'IBuilder::buildSerializedNetwork: Error Code 9: API Usage Error (Target GPU SM 70 is not supported by this TensorRT release.)',
    'DEVICE_UNSUPPORTED',
    /the provider "cuda"/,
  ],
  [
    '[caskUtils.cpp::trtSmToCask::193] Error Code 1: Internal Error (Unsupported SM: 0x601)',
    'DEVICE_UNSUPPORTED',
    /architecture/,
  ],
  [
    call('CUDA', '35: CUDA driver version is insufficient for CUDA runtime version'),
    'DEVICE_UNAVAILABLE',
    /update the NVIDIA driver/,
  ],
  [call('CUDA', '100: no CUDA-capable device is detected'), 'DEVICE_UNAVAILABLE', /nvidia-smi/],
  [
    'Invalid device ID: 3, must be between 0 (inclusive) and 1 (exclusive).',
    'DEVICE_UNAVAILABLE',
    /CUDA_VISIBLE_DEVICES/,
  ],
  [call('CUDA', '700: an illegal memory access was encountered'), 'DEVICE_LOST', /start it again/],
  [call('CUDA', '719: unspecified launch failure'), 'DEVICE_LOST', /Xid/],
  [call('CUDA', '214: uncorrectable ECC error encountered'), 'DEVICE_LOST', /Xid/],
  [call('CUBLAS', '13: CUBLAS_STATUS_EXECUTION_FAILED'), 'DEVICE_LOST', /Xid/],
  [
    'TensorRT EP could not deserialize engine from cache: /cache/denoiser.engine',
    'FAILED',
    /delete the folder/,
  ],
  [
    'TensorRT EP failed to create engine from network for fused node: TRTKernel_graph_main_0',
    'FAILED',
    /could not build this network/,
  ],
  ['Exiting due to terminate flag being set to true.', 'FAILED', /^$/],
  ['Got invalid dimensions for input: sample', 'FAILED', /^$/],
];

t.test('what ONNX Runtime and its providers say, and what is to be done', async (t) => {
  for (const [text, code, advice] of failures) {
    const found = parts.classifyFailure(text);
    t.equal(found.code, `ENGINE_${code}`, text);
    t.match(found.advice, advice);
  }
});

t.test('the providers are really tried', async (t) => {
  const folder = dirname(native().runtimeLibrary);
  const installed = existsSync(join(folder, 'libonnxruntime_providers_shared.so'));
  for (const provider of ['cuda', 'tensorrt']) {
    if (installed) {
      // Then what is missing on a machine without GPU is a library of CUDA, or the driver.
      t.throws(() => parts.requireProvider(provider, 99), { code: /^ENGINE_(RUNTIME|DEVICE)_/ });
      continue;
    }
    t.throws(() => parts.requireProvider(provider, 0), {
      code: 'ENGINE_RUNTIME_MISSING',
      message: new RegExp(
        `^provider "${provider}" on cuda:0: .*libonnxruntime_providers_shared\\.so: cannot open shared object file.*; ONNX Runtime's GPU providers are not installed: run npm run providers`,
        's',
      ),
    });
  }
  t.doesNotThrow(() => parts.requireProvider('cpu', 0));
  t.throws(() => parts.requireProvider('rocm', 0), { code: 'ENGINE_OPTION_INVALID' });
});

t.test('every graph for GPUs has exactly the inputs that engines are built for', async (t) => {
  const { config } = await openModel(testModel);
  for (const { name, path } of config.networks) {
    if (name === 'mel') continue;
    const graph = await readGraph(path);
    const inputs = parts.inputShapes(config, name, sizes);
    t.same(
      inputs.map((input) => input.name),
      [...graph.inputs.keys()],
      name,
    );
    for (const { name: input, least, usual, largest } of inputs) {
      const { dims } = graph.inputs.get(input)!;
      for (const shape of [least, usual, largest]) {
        t.equal(shape.length, dims.length, input);
        dims.forEach((dim, i) => {
          if (typeof dim === 'number') t.equal(shape[i], dim, `${input}: ${dims.join()}`);
        });
      }
      largest.forEach((most, i) => {
        t.ok(least[i]! <= usual[i]! && usual[i]! <= most, `${input}: ${dims[i]}`);
      });
    }
  }
});

t.test('a size that does not halve evenly is rounded up at each level', async (t) => {
  const model = fullSizeModel('fp16');
  const shapes = parts.inputShapes(model, 'denoiser', { ...sizes, width: 520, height: 424 });
  const shapeOf = (place: string) =>
    shapes.find(({ name }) => name === `bank.${place}.keys`)?.largest;
  t.same(shapeOf('down_blocks.0.attentions.0'), [1, 65 * 53, 320]);
  t.same(shapeOf('down_blocks.2.attentions.1'), [1, 17 * 14, 1280]);
  t.same(shapeOf('mid_block.attentions.0'), [1, 9 * 7, 1280]);
  t.same(shapeOf('up_blocks.1.attentions.2'), [1, 17 * 14, 1280]);
  t.same(shapeOf('up_blocks.3.attentions.0'), [1, 65 * 53, 320]);
  t.throws(
    () => parts.inputShapes({ ...model, bank: ['bank.down_blocks.7.x'] }, 'denoiser', sizes),
    {
      code: 'ENGINE_MODEL_INVALID',
      message: /"bank.down_blocks.7.x"/,
    },
  );
  t.throws(() => parts.inputShapes(model, 'vocoder', sizes), { code: 'ENGINE_OPTION_INVALID' });
});

t.test('what the providers are told', async (t) => {
  const config = {
    ...{ gpu: 1, graphs: true, memoryLimit: 4e9, sizes },
    ...{ engineFolder: '/cache/denoiser', timingFolder: '/cache/timing' },
  };
  const half = fullSizeModel('fp16');
  const cuda = parts.providerOptions(half, 'denoiser', { provider: 'cuda', ...config });
  t.same(cuda, {
    device_id: '1',
    arena_extend_strategy: 'kSameAsRequested',
    cudnn_conv_algo_search: 'HEURISTIC',
    use_tf32: '0',
    enable_skip_layer_norm_strict_mode: '1',
    do_copy_in_default_stream: '1',
    gpu_mem_limit: '4000000000',
    enable_cuda_graph: '1',
  });
  const once = parts.providerOptions(half, 'reference', { provider: 'cuda', ...config });
  t.equal(once['enable_cuda_graph'], '0', 'what runs once is not recorded');

  const decoder = parts.providerOptions(half, 'vaeDecoder', { provider: 'tensorrt', ...config });
  t.match(decoder, {
    device_id: '1',
    trt_fp16_enable: '1',
    trt_engine_cache_path: '/cache/denoiser',
    trt_timing_cache_path: '/cache/timing',
    trt_max_workspace_size: '2147483648',
    trt_profile_min_shapes: 'latents:1x4x64x64',
    trt_profile_opt_shapes: 'latents:4x4x64x64',
    trt_profile_max_shapes: 'latents:4x4x64x64',
    trt_cuda_graph_enable: '0',
  });
  const single = parts.providerOptions(fullSizeModel('fp32'), 'denoiser', {
    provider: 'tensorrt',
    ...config,
  });
  t.equal(single['trt_fp16_enable'], '0');
  t.match(
    single['trt_profile_min_shapes'],
    /^sample:1x1x4x64x64,timestep:1,audio:1x1x50x384,face:/,
  );
  t.match(single['trt_profile_max_shapes'], /^sample:2x12x4x64x64,timestep:1,audio:2x12x50x384,/);
  t.match(single['trt_profile_max_shapes'], /,bank\.mid_block\.attentions\.0\.values:1x64x1280,/);

  // Names are checked by the providers alone, which are not here: these are those of 1.29.
  const known = new Set(
    readFileSync(join('test', 'native', 'fixtures', 'provider-options.txt'), 'utf8').split('\n'),
  );
  for (const name of [...Object.keys(cuda), ...Object.keys(single), ...Object.keys(decoder)]) {
    t.ok(known.has(name), name);
  }
});
