import { hasWords } from './stops.js';

/**
 * What a voice says of a text that a model or a person wrote: its words, without Markdown, emoji,
 * addresses of links and control characters. Empty when no word is left. A sentence may be a piece
 * of a longer text, so marks are removed whether or not they are closed.
 */
export function spokenText(text: string): string {
  const words = withoutAddresses(withoutMarkup(withoutOddities(text)))
    .replace(/[ \t\u00a0\u2000-\u200a\u202f\u3000]+/g, ' ')
    .replace(/ ?\n[ \n]*/g, '\n')
    .replace(/ +([,.!?;:，。！？；：、])/g, '$1')
    .trim();
  if (!hasWords(words)) return '';
  // titles and items of lists have no stop of their own
  return words
    .replace(/([\p{Script=Han}])\n/gu, '$1。')
    .replace(/([\p{L}\p{N}])\n/gu, '$1. ')
    .replaceAll('\n', ' ');
}

/** The same text without what is no text: control characters and halves of characters. */
export function plainText(text: string): string {
  return text
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, ' ')
    .replace(/[\p{Cs}\p{Co}\p{Cn}\ufeff\u202a-\u202e\u2066-\u2069]/gu, '');
}

function withoutOddities(text: string): string {
  return (
    plainText(text)
      // flags, keycaps, pictures and what joins them; signs such as © are words
      .replace(/[\u{1f1e6}-\u{1f1ff}\u{e0020}-\u{e007f}]|[\ufe0e\ufe0f]|\u20e3/gu, '')
      .replace(/[^\P{Extended_Pictographic}©®™‼⁉ℹ↔-↪]|\p{Emoji_Modifier}/gu, ' ')
      // joiners mean something inside words of some scripts only
      .replace(/(?<!\p{L}\p{M}*)[\u200c\u200d]|[\u200c\u200d](?![\p{L}\p{M}])/gu, '')
      .replace(/[^\P{Cf}\u200c\u200d]/gu, '')
  );
}

function withoutMarkup(text: string): string {
  return (
    text
      .replace(/^[ \t]*(```|~~~)[^\n]*$/gm, '')
      .replace(/!?\[([^[\]\n]{0,500})\]\([^()\s]{0,2000}\)/g, '$1')
      .replace(/\]\([^()\s]{0,2000}\)/g, '')
      .replace(/<\/?[a-z][a-z0-9-]{0,20}(\s[^<>]{0,500})?\/?>/gi, ' ')
      .replace(/^[ \t]*(#{1,6}|>+|[-*+•‣])[ \t]+/gm, '')
      .replace(/^[ \t]*([-*_=][ \t]*){3,}$/gm, '')
      .replace(/^[ \t:|-]*$/gm, (line) => (line.includes('--') ? '' : line))
      .replace(/\|/g, ' ')
      .replace(/\\([\\`*_{}[\]()#+.!~>-])/g, '$1')
      .replace(/\*{2,}|_{2,}|~{2,}|`+/g, '')
      // a star between spaces is arithmetic; an underscore inside a word is its own
      .replace(/\*(?=\S)|(?<=\S)\*/g, '')
      .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '')
  );
}

/** Of a web address the name of its host. */
function withoutAddresses(text: string): string {
  return text.replace(
    /<?\bhttps?:\/\/(?:www\.)?([^\s/?#<>"'，。！？；、）】]{1,253})([/?#][^\s<>"，。！？；、）】]*)?>?/gi,
    (_address, host: string, path: string | undefined) => {
      const end = path === undefined ? '' : (/[.,!?;:)]+$/.exec(path)?.[0] ?? '');
      return host + end;
    },
  );
}
