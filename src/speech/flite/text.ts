/** What flite can read aloud: the letters of English, digits and what stands between them. */
const plain: Readonly<Record<string, string>> = {
  '‘': "'",
  '’': "'",
  '“': '"',
  '”': '"',
  '–': '-',
  '—': ', ',
  '…': '...',
  '，': ', ',
  '。': '. ',
  '！': '! ',
  '？': '? ',
  '；': '; ',
  '：': ': ',
  '、': ', ',
  '€': ' euros ',
  '£': ' pounds ',
  '¥': ' yuan ',
  '°': ' degrees ',
  '×': ' times ',
  ß: 'ss',
  æ: 'ae',
  Æ: 'Ae',
  ø: 'o',
  Ø: 'O',
  đ: 'd',
  ł: 'l',
  Ł: 'L',
};

export function readable(text: string): string {
  return text
    .replace(/[^\x20-\x7e]/g, (char) => plain[char] ?? char)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\x20-\x7e]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Words and numbers that flite can say; marks alone are silence. */
export const hasWords = (text: string): boolean => /[A-Za-z0-9]/.test(text);

/** Letters of any script. */
export const hasLetters = (text: string): boolean => /[\p{L}\p{N}]/u.test(text);

/** Pieces of at most `most` characters, cut between words where there are words. */
export function pieces(text: string, most: number): string[] {
  const found: string[] = [];
  let rest = text;
  while (rest.length > most) {
    const space = rest.lastIndexOf(' ', most);
    const end = space > 0 ? space : most;
    found.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return rest === '' ? found : [...found, rest];
}
