/** The part of the global that we use; the types of Node 20 leave it to the browser's. */
declare namespace WebAssembly {
  class Module {
    private readonly opaque: unknown;
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  function compile(bytes: Uint8Array): Promise<Module>;
}
