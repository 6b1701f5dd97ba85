import { CodedError } from '../../src/errors.js';

/**
 * A pickle machine that knows plain values, plain containers and the few constructors its caller
 * names. It calls nothing else: a pickle that mentions any other global is refused by name before
 * anything is built from it.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Tuple
  | PickleMap
  | PickleGlobal
  | object;

export class Tuple {
  constructor(readonly items: PickleValue[]) {}
}

/** A dict or OrderedDict. */
export class PickleMap extends Map<PickleValue, PickleValue> {}

/** A mentioned name; only `REDUCE` on a known one builds something. */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

export interface PickleRules {
  /** What to build when an allowed global is called; a name that is absent here is refused. */
  readonly calls: ReadonlyMap<string, (args: PickleValue[]) => PickleValue>;
  /** Names that may be mentioned as values and are never called. */
  readonly names: (name: string) => boolean;
  readonly persistent: (id: PickleValue) => PickleValue;
  readonly fail: (what: string) => CodedError;
  readonly refuse: (name: string) => CodedError;
}

const mark = Symbol('mark');
type Slot = PickleValue | typeof mark;

class Machine {
  private at = 0;
  private readonly stack: Slot[] = [];
  private readonly memo = new Map<number, PickleValue>();
  private readonly view: DataView;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly rules: PickleRules,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private take(length: number): Uint8Array {
    if (length < 0 || this.at + length > this.bytes.length)
      throw this.rules.fail('it is truncated');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  private number(length: 1 | 2 | 4): number {
    this.take(length);
    const at = this.at - length;
    if (length === 1) return this.view.getUint8(at);
    return length === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true);
  }

  private long(): number {
    this.take(8);
    return Number(this.view.getBigUint64(this.at - 8, true));
  }

  private text(length: number): string {
    return Buffer.from(this.take(length)).toString('utf8');
  }

  private line(): string {
    const end = this.bytes.indexOf(10, this.at);
    if (end < 0) throw this.rules.fail('it is truncated');
    const line = this.text(end - this.at);
    this.at = end + 1;
    return line;
  }

  private pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined || value === mark) throw this.rules.fail('its stack is empty');
    return value;
  }

  private top(): PickleValue {
    const value = this.pop();
    this.stack.push(value);
    return value;
  }

  private popToMark(): PickleValue[] {
    const from = this.stack.lastIndexOf(mark);
    if (from < 0) throw this.rules.fail('a mark is missing');
    const items = this.stack.splice(from) as PickleValue[];
    items.shift();
    return items;
  }

  private push(value: PickleValue): void {
    this.stack.push(value);
  }

  private remember(index: number): void {
    this.memo.set(index, this.top());
  }

  private recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.rules.fail(`memo entry ${index} is missing`);
    this.push(value);
  }

  private bigInteger(length: number): void {
    const bytes = this.take(length);
    if (length > 64) throw this.rules.fail('an integer is absurdly long');
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    if (length > 0 && bytes[length - 1]! & 0x80) value -= 1n << BigInt(length * 8);
    const number = Number(value);
    this.push(Number.isSafeInteger(number) ? number : value);
  }

  private append(items: PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.rules.fail('a list is missing');
    for (const item of items) list.push(item);
  }

  private assign(items: PickleValue[]): void {
    const map = this.top();
    if (!(map instanceof PickleMap) || items.length % 2 !== 0) {
      throw this.rules.fail('a dict is missing');
    }
    for (let i = 0; i < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
  }

  private global(name: string): void {
    if (!this.rules.calls.has(name) && !this.rules.names(name)) throw this.rules.refuse(name);
    this.push(new PickleGlobal(name));
  }

  private reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickleGlobal) || !(args instanceof Tuple)) {
      throw this.rules.fail('it calls something that is not a name');
    }
    const call = this.rules.calls.get(callee.name);
    if (!call) throw this.rules.refuse(callee.name);
    this.push(call(args.items));
  }

  /** Attributes that torch hangs on a state dict (`_metadata`) say nothing about the tensors. */
  private build(): void {
    this.pop();
    if (!(this.top() instanceof PickleMap)) {
      throw this.rules.fail('it sets the state of something that is not a dict');
    }
  }

  run(): PickleValue {
    for (;;) {
      const code = this.number(1);
      if (code === 0x2e) return this.pop(); // STOP
      this.step(code);
    }
  }

  private step(code: number): void {
    switch (code) {
      case 0x80: // PROTO
        if (this.number(1) > 5) throw this.rules.fail('its protocol is newer than 5');
        return;
      case 0x95: // FRAME
        return void this.take(8);
      case 0x28: // MARK
        return void this.stack.push(mark);
      case 0x30: // POP
        return void this.stack.pop();
      case 0x31: // POP_MARK
        return void this.popToMark();
      case 0x32: // DUP
        return this.push(this.top());
      case 0x4e: // NONE
        return this.push(null);
      case 0x88: // NEWTRUE
        return this.push(true);
      case 0x89: // NEWFALSE
        return this.push(false);
      case 0x4a: // BININT
        return this.push(this.number(4) | 0);
      case 0x4b: // BININT1
        return this.push(this.number(1));
      case 0x4d: // BININT2
        return this.push(this.number(2));
      case 0x8a: // LONG1
        return this.bigInteger(this.number(1));
      case 0x8b: // LONG4
        return this.bigInteger(this.number(4));
      case 0x49: {
        // INT, which also spells booleans
        const text = this.line();
        return this.push(text === '01' ? true : text === '00' ? false : this.decimal(text));
      }
      case 0x4c: // LONG
        return this.push(this.decimal(this.line().replace(/L$/, '')));
      case 0x46: // FLOAT
        return this.push(Number(this.line()));
      case 0x47: // BINFLOAT
        this.take(8);
        return this.push(this.view.getFloat64(this.at - 8, false));
      case 0x58: // BINUNICODE
      case 0x54: // BINSTRING
        return this.push(this.text(this.number(4)));
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING
        return this.push(this.text(this.number(1)));
      case 0x8d: // BINUNICODE8
        return this.push(this.text(this.long()));
      case 0x56: // UNICODE
        return this.push(this.line());
      case 0x42: // BINBYTES
        return this.push(this.take(this.number(4)));
      case 0x43: // SHORT_BINBYTES
        return this.push(this.take(this.number(1)));
      default:
        return this.stepContainers(code);
    }
  }

  private decimal(text: string): number {
    const value = Number(text);
    if (!Number.isFinite(value)) throw this.rules.fail(`${text.slice(0, 20)} is not a number`);
    return value;
  }

  private stepContainers(code: number): void {
    switch (code) {
      case 0x29: // EMPTY_TUPLE
        return this.push(new Tuple([]));
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: {
        // TUPLE3
        const items: PickleValue[] = [];
        for (let n = code - 0x84; n > 0; n--) items.unshift(this.pop());
        return this.push(new Tuple(items));
      }
      case 0x74: // TUPLE
        return this.push(new Tuple(this.popToMark()));
      case 0x5d: // EMPTY_LIST
        return this.push([]);
      case 0x6c: // LIST
        return this.push(this.popToMark());
      case 0x61: {
        // APPEND
        const item = this.pop();
        return this.append([item]);
      }
      case 0x65: // APPENDS
        return this.append(this.popToMark());
      case 0x7d: // EMPTY_DICT
        return this.push(new PickleMap());
      case 0x64: {
        // DICT
        const items = this.popToMark();
        this.push(new PickleMap());
        return this.assign(items);
      }
      case 0x73: {
        // SETITEM
        const value = this.pop();
        const key = this.pop();
        return this.assign([key, value]);
      }
      case 0x75: // SETITEMS
        return this.assign(this.popToMark());
      case 0x71: // BINPUT
        return this.remember(this.number(1));
      case 0x72: // LONG_BINPUT
        return this.remember(this.number(4));
      case 0x70: // PUT
        return this.remember(this.decimal(this.line()));
      case 0x94: // MEMOIZE
        return this.remember(this.memo.size);
      case 0x68: // BINGET
        return this.recall(this.number(1));
      case 0x6a: // LONG_BINGET
        return this.recall(this.number(4));
      case 0x67: // GET
        return this.recall(this.decimal(this.line()));
      case 0x63: // GLOBAL
        return this.global(`${this.line()}.${this.line()}`);
      case 0x93: {
        // STACK_GLOBAL
        const name = this.pop();
        const module = this.pop();
        if (typeof name !== 'string' || typeof module !== 'string') {
          throw this.rules.fail('it names something by other than text');
        }
        return this.global(`${module}.${name}`);
      }
      case 0x69: // INST
        throw this.rules.refuse(`${this.line()}.${this.line()}`);
      case 0x52: // REDUCE
        return this.reduce();
      case 0x62: // BUILD
        return this.build();
      case 0x51: // BINPERSID
        return this.push(this.rules.persistent(this.pop()));
      default:
        throw this.rules.fail(
          `it uses the operation 0x${code.toString(16)}, which no tensor needs`,
        );
    }
  }
}

/** The value of a pickle, built by `rules` alone. */
export function readPickle(bytes: Uint8Array, rules: PickleRules): PickleValue {
  return new Machine(bytes, rules).run();
}
