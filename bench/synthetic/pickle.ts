/** The few pickle operations that a state dict needs, as `torch.save` writes them. */
export class PickleWriter {
  private readonly parts: Uint8Array[] = [Uint8Array.of(0x80, 2)];

  private raw(...bytes: number[]): this {
    this.parts.push(Uint8Array.from(bytes));
    return this;
  }

  mark = (): this => this.raw(0x28);
  emptyDict = (): this => this.raw(0x7d);
  emptyTuple = (): this => this.raw(0x29);
  tuple = (): this => this.raw(0x74);
  reduce = (): this => this.raw(0x52);
  persistent = (): this => this.raw(0x51);
  setItems = (): this => this.raw(0x75);
  boolean = (value: boolean): this => this.raw(value ? 0x88 : 0x89);

  global(module: string, name: string): this {
    this.parts.push(Buffer.from(`c${module}\n${name}\n`, 'latin1'));
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value, 'utf8');
    const head = Buffer.alloc(5);
    head[0] = 0x58;
    head.writeUInt32LE(bytes.length, 1);
    this.parts.push(head, bytes);
    return this;
  }

  integer(value: number): this {
    if (value >= 0 && value < 256) return this.raw(0x4b, value);
    if (value >= 0 && value <= 0x7fffffff) {
      const bytes = Buffer.alloc(5);
      bytes[0] = 0x4a;
      bytes.writeInt32LE(value, 1);
      this.parts.push(bytes);
      return this;
    }
    const bytes = Buffer.alloc(10);
    bytes[0] = 0x8a;
    bytes[1] = 8;
    bytes.writeBigInt64LE(BigInt(value), 2);
    this.parts.push(bytes);
    return this;
  }

  integers(values: readonly number[]): this {
    this.mark();
    for (const value of values) this.integer(value);
    return this.tuple();
  }

  end(): Buffer {
    this.raw(0x2e);
    return Buffer.concat(this.parts);
  }
}
