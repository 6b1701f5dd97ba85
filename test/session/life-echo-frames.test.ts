import fc from 'fast-check';
import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { Assembly, type Piece, joinTexts } from '../../src/session/life-echo/assembly.js';
import { decode, encode, maxSegments } from '../../src/session/life-echo/codec.js';

const wav = Buffer.from('some sound').toString('base64');
const read = (type: string, data: unknown) => decode({ type, data }, 100);

/** The code and message that a frame is refused with. */
function refusal(type: string, data: unknown): string {
  try {
    read(type, data);
  } catch (error) {
    if (error instanceof CodedError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

t.test('frames become commands', async (t) => {
  t.strictSame(read('text', { text: 'hello' }), { type: 'text', text: 'hello' });
  t.strictSame(read('recording_started', { voice_session_id: ' v 1 ' }), {
    type: 'recording-started',
    voiceSessionId: 'v 1',
  });
  t.match(read('audio_message', { audio_base64: wav, duration: 2.5 }), {
    type: 'recording',
    data: Buffer.from('some sound'),
    seconds: 2.5,
  });
  t.match(read('transcribe_only', { audio_base64: wav }), { type: 'transcribe' });
  t.strictSame(read('end_conversation', undefined), { type: 'end-conversation' });
  t.strictSame(read('end_conversation', { anything: 1 }), { type: 'end-conversation' });
  const segment = { audio_base64: wav, segment_index: 3, voice_session_id: 'v' };
  t.match(read('audio_segment', segment), {
    type: 'segment',
    voiceSessionId: 'v',
    index: 3,
    isLast: false,
    seconds: undefined,
  });
  t.match(
    read('audio_segment', { ...segment, segment_index: '12', is_last: true, duration: '4' }),
    {
      index: 12,
      isLast: true,
      seconds: 4,
    },
  );
});

t.test('the voice session may stand in the id of the segment', async (t) => {
  const voiceSession = (client_segment_id: unknown, segment_index: unknown = 7) => {
    const data = { audio_base64: wav, segment_index, client_segment_id };
    return (read('audio_segment', data) as { voiceSessionId: string }).voiceSessionId;
  };
  for (const id of ['v_7', 'v-7', 'v:7', 'v/7', 'v#7', 'v.7', 'v_seg_7', 'v-segment-7', 'v_007']) {
    t.equal(voiceSession(id), 'v', id);
  }
  const uuid = '550e8400-e29b-41d4-a716-446655440000';
  t.equal(voiceSession(`${uuid}_7`), uuid);
  t.equal(voiceSession('a_6_7'), 'a_6');
  const both = { audio_base64: wav, segment_index: 7, client_segment_id: 'other_7' };
  t.match(read('audio_segment', { ...both, voice_session_id: 'v' }), { voiceSessionId: 'v' });
  for (const id of ['v', '7', '_7', 'v_8', 'v7', uuid]) {
    const data = { audio_base64: wav, segment_index: 7, client_segment_id: id };
    t.match(refusal('audio_segment', data), /^FRAME_INVALID .*client_segment_id/, id);
  }
});

t.test('a refusal names the field and what was expected', async (t) => {
  const segment = { audio_base64: wav, segment_index: 0, voice_session_id: 'v' };
  const cases: [string, unknown, RegExp][] = [
    ['text', {}, /^FRAME_INVALID text: data.text: expected a text; it is missing/],
    ['text', { text: 5 }, /data.text: expected a text; got 5/],
    ['text', { text: ' \n' }, /data.text/],
    ['text', 'hello', /data: expected an object, got "hello"/],
    ['text', { text: 'x'.repeat(101) }, /^TEXT_TOO_LONG .*at most 100 characters/],
    ['recording_started', {}, /voice_session_id is missing/],
    ['recording_started', { voice_session_id: '  ' }, /voice_session_id is missing/],
    ['recording_started', { voice_session_id: {} }, /expected a text of at most 200 characters/],
    ['recording_started', { voice_session_id: 'v'.repeat(201) }, /at most 200 characters/],
    ['audio_segment', { ...segment, voice_session_id: '' }, /voice_session_id is missing/],
    ['audio_segment', { ...segment, audio_base64: undefined }, /audio_base64.*it is missing/],
    ['audio_segment', { ...segment, audio_base64: '' }, /audio_base64: expected a recording/],
    ['audio_segment', { ...segment, audio_base64: 'a*==' }, /audio_base64: expected padded Base64/],
    ['audio_segment', { ...segment, audio_base64: 'abc' }, /Base64/],
    ['audio_segment', { ...segment, audio_base64: 'ab-_' }, /Base64/],
    ['audio_segment', { ...segment, audio_base64: 'data:audio/wav;base64,AAAA' }, /Base64/],
    ['audio_segment', { ...segment, segment_index: undefined }, /segment_index.*it is missing/],
    ['audio_segment', { ...segment, segment_index: null }, /segment_index.*integer from 0/],
    ['audio_segment', { ...segment, segment_index: 1.5 }, /segment_index.*integer from 0; got 1.5/],
    ['audio_segment', { ...segment, segment_index: 'one' }, /segment_index.*integer from 0/],
    ['audio_segment', { ...segment, segment_index: '1.0' }, /segment_index.*integer from 0/],
    ['audio_segment', { ...segment, segment_index: -1 }, /segment_index.*from 0 to .*got -1/],
    ['audio_segment', { ...segment, segment_index: '-2' }, /got -2/],
    ['audio_segment', { ...segment, segment_index: maxSegments }, /from 0 to 999; got 1000/],
    ['audio_segment', { ...segment, is_last: 'yes' }, /is_last: expected true or false; got "yes"/],
    ['audio_segment', { ...segment, duration: -1 }, /duration: expected seconds; got -1/],
    ['audio_message', { duration: 1 }, /audio_base64.*it is missing/],
    ['transcribe_only', {}, /audio_base64.*it is missing/],
    ['shout', {}, /^FRAME_UNKNOWN type: expected one of text, .*end_conversation; got "shout"/],
    ['toString', {}, /^FRAME_UNKNOWN/],
    ['__proto__', {}, /^FRAME_UNKNOWN/],
  ];
  for (const [type, data, expected] of cases) {
    t.match(refusal(type, data), expected, JSON.stringify([type, data]).slice(0, 80));
  }
  t.match(
    refusal('audio_segment', { ...segment, audio_base64: wav.slice(0, 4) + '\r\n' + wav.slice(4) }),
    'accepted',
  );
});

t.test('no frame at all breaks the codec', async () => {
  const types = ['text', 'recording_started', 'audio_segment', 'audio_message', 'transcribe_only'];
  const fields = ['text', 'voice_session_id', 'client_segment_id', 'audio_base64', 'segment_index'];
  const data = fc.oneof(
    fc.anything(),
    fc.dictionary(fc.constantFrom(...fields, 'is_last', 'duration'), fc.anything()),
  );
  fc.assert(
    fc.property(fc.oneof(fc.constantFrom(...types), fc.anything()), data, (type, data) => {
      const frame = JSON.parse(JSON.stringify({ type, data }, plain)) as Record<string, unknown>;
      try {
        decode(frame, 100);
      } catch (error) {
        return error instanceof CodedError && error.message.length < 1000;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
});

/** What JSON has no word for goes missing. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

t.test('events become frames of the dialect', async (t) => {
  const frame = encode({ type: 'reply-text', turn: 1, index: 0, total: 2, text: 'hi' }, 'c');
  t.match(frame, {
    type: 'agent_response',
    conversation_id: 'c',
    data: { text: 'hi', index: 0, total: 2 },
    timestamp: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  });
  t.match(
    encode({ type: 'recognised', turn: 1, text: 'hi', audioUrl: undefined, seconds: 1.23456 }, 'c'),
    { type: 'transcript', data: { text: 'hi', audio_duration: 1.23 } },
  );
  t.strictSame(
    (encode({ type: 'transcribed', text: 'hi' }, 'c') as { data: unknown }).data,
    { text: 'hi' },
    'and nothing else',
  );
  t.match(encode({ type: 'error', code: 'ASR_FAILED', message: 'no' }, 'c'), {
    type: 'error',
    data: { message: 'no', code: 'ASR_FAILED' },
  });
  t.match(encode({ type: 'conversation-ended' }, 'c'), {
    type: 'end_conversation',
    data: { status: 'ended' },
  });
  t.equal(encode({ type: 'interrupted', turn: 1 }, 'c'), undefined);
});

interface Arrival {
  readonly index: number;
  readonly text: string | undefined;
}

/** Up to ten segments, some without words, each arriving once to three times, in any order. */
const utterance = fc
  .array(fc.oneof(fc.constant(undefined), fc.constant(''), fc.string({ minLength: 1 })), {
    minLength: 1,
    maxLength: 10,
  })
  .chain((texts) => {
    const segments = texts.map((text, index): Arrival => ({ index, text }));
    const copies = fc.array(fc.constantFrom(...segments), { maxLength: 12 });
    return fc
      .tuple(copies, fc.array(fc.nat(), { minLength: 22, maxLength: 22 }))
      .map(([extra, keys]) => ({
        texts,
        arrivals: [...segments, ...extra]
          .map((segment, i) => ({ segment, key: keys[i] as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ segment }) => segment),
        settleKeys: keys.slice().reverse(),
      }));
  });

const wordsOf = (texts: readonly (string | undefined)[]) =>
  texts.map((text) => text?.trim() ?? '').filter((text) => text !== '');

t.test('segments in any order, any number of times: consumed once each, in order', async (t) => {
  fc.assert(
    fc.property(utterance, ({ texts, arrivals, settleKeys }) => {
      const assembly = new Assembly();
      const last = texts.length - 1;
      const consumed: Piece[] = [];
      const underway: Arrival[] = [];
      const offered = new Set<number>();
      let turn = 0;
      const settleOne = () => {
        const key = settleKeys[turn++ % settleKeys.length] as number;
        const [one] = underway.splice(key % underway.length, 1) as [Arrival];
        const piece = one.text === undefined ? undefined : { text: one.text, seconds: 1 };
        consumed.push(...assembly.settle(one.index, piece));
      };
      for (const [i, one] of arrivals.entries()) {
        const isNew = assembly.offer(one.index, one.index === last);
        t.equal(isNew, !offered.has(one.index));
        offered.add(one.index);
        if (isNew) underway.push(one);
        if ((settleKeys[i % settleKeys.length] as number) % 2 === 0 && underway.length > 0)
          settleOne();
      }
      while (underway.length > 0) {
        t.equal(assembly.isComplete, false);
        t.ok(assembly.isTranscribing);
        settleOne();
      }
      t.ok(assembly.isComplete);
      t.strictSame(assembly.missing, []);
      t.strictSame(
        consumed.map((piece) => piece.text),
        wordsOf(texts),
      );
      t.strictSame(assembly.close(), []);
      t.equal(assembly.text, joinTexts(wordsOf(texts)));
      for (const { index } of arrivals) t.notOk(assembly.offer(index, index === last));
      t.throws(() => assembly.offer(last + 1, false), { code: 'FRAME_INVALID' });
    }),
    { numRuns: 500 },
  );
});

t.test('what never came is named, and the rest is there in order', async (t) => {
  fc.assert(
    fc.property(utterance, fc.func(fc.boolean()), ({ texts, arrivals }, isLost) => {
      const last = texts.length - 1;
      const lost = new Set(texts.map((_, i) => i).filter((i) => i !== last && isLost(i)));
      const assembly = new Assembly();
      for (const { index, text } of arrivals) {
        if (lost.has(index) || !assembly.offer(index, index === last)) continue;
        assembly.settle(index, text === undefined ? undefined : { text, seconds: 1 });
      }
      t.equal(assembly.isComplete, lost.size === 0);
      t.strictSame(assembly.missing, [...lost]);
      assembly.close();
      t.equal(assembly.text, joinTexts(wordsOf(texts.filter((_, i) => !lost.has(i)))));
    }),
    { numRuns: 300 },
  );
});

t.test('contradictions about the last segment', async (t) => {
  const assembly = new Assembly();
  assembly.offer(0, false);
  assembly.offer(4, false);
  t.throws(() => assembly.offer(3, true), { code: 'FRAME_INVALID', message: /4 has come/ });
  t.notOk(assembly.offer(4, true), 'a duplicate may say that it was the last');
  t.ok(assembly.hasLast);
  t.throws(() => assembly.offer(5, false), { code: 'FRAME_INVALID', message: /after 4/ });
  t.throws(() => assembly.offer(2, true), { code: 'FRAME_INVALID' });
  t.ok(assembly.offer(2, false));
  t.strictSame(assembly.missing, [1, 3]);
});

t.test('texts are joined as their script is written', async (t) => {
  t.equal(joinTexts(['Good', 'morning.']), 'Good morning.');
  t.equal(joinTexts(['你好。', '今天好吗?']), '你好。今天好吗?');
  t.equal(joinTexts(['你好', 'world', '再见']), '你好 world 再见');
  t.equal(joinTexts(['𠮷', '野家']), '𠮷野家');
  t.equal(joinTexts([]), '');
});
