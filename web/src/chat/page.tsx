import { Choose } from './choose.js';
import { Conversation as Held } from './conversation.js';
import { talk } from './talk.js';

/** Who to talk to, then the talk itself. */
export function Conversation() {
  const held = talk.value;
  return held === undefined ? <Choose /> : <Held talk={held} key={held} />;
}
