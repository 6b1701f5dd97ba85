export type Language = 'en' | 'zh';

interface Phrases {
  /** Between two sentences. */
  readonly space: string;
  readonly hello: string;
  readonly why: string;
  readonly ask: Readonly<
    Record<'nickname' | 'birth_year' | 'birth_place' | 'grew_up_place' | 'occupation', string>
  >;
  readonly aboutAnything: readonly string[];
  readonly listening: readonly string[];
  helloName(name: string): string;
  iAm(self: string, name: string | undefined): string;
  aboutWork(occupation: string): string[];
  aboutHome(place: string): string[];
  aboutMoving(from: string, to: string): string[];
  aboutYouth(decade: number): string[];
}

const en: Phrases = {
  space: ' ',
  hello: 'Hello, how nice to meet you!',
  helloName: (name) => `Hello ${name}, how nice to see you!`,
  why: 'Before we begin, I would love to know a little about you.',
  ask: {
    nickname: 'What may I call you?',
    birth_year: 'In which year were you born?',
    birth_place: 'Where were you born?',
    grew_up_place: 'Where did you grow up?',
    occupation: 'And what do you do, or what did you do, for a living?',
  },
  iAm: (self, name) =>
    name === undefined
      ? `Hello, I am ${self}. I am glad that you are here.`
      : `Hello ${name}, I am ${self}. I am glad that you are here.`,
  aboutWork: (occupation) => [
    `You told me about your work: ${occupation}. How did you come to it?`,
    `I would like to hear about your work, ${occupation}. Which day of it do you remember best?`,
  ],
  aboutHome: (place) => [
    `You grew up in ${place}. What did you see when you stepped out of the door in the morning?`,
    `When you think of ${place}, which person comes to your mind first?`,
  ],
  aboutMoving: (from, to) => [
    `You were born in ${from} and grew up in ${to}. What do you remember of the move?`,
  ],
  aboutYouth: (decade) => [
    `You were young in the ${decade}s. What did a good day look like then?`,
    `Which song or which film of the ${decade}s takes you back at once?`,
  ],
  aboutAnything: [
    'Is there a moment of your life that you like to think back to?',
    'Who has shaped your life most? I would like to hear about that person.',
    'What made you smile lately?',
  ],
  listening: [
    'I am listening, take your time.',
    'Go on, I am right here.',
    'Mm-hm, I am with you.',
    'Please tell me more.',
    'I hear you. Go on.',
  ],
};

const zh: Phrases = {
  space: '',
  hello: '您好，很高兴认识您！',
  helloName: (name) => `${name}，您好，很高兴见到您！`,
  why: '在开始之前，我想先多了解您一点。',
  ask: {
    nickname: '我该怎么称呼您呢？',
    birth_year: '您是哪一年出生的？',
    birth_place: '您是在哪里出生的？',
    grew_up_place: '您小时候在哪里长大？',
    occupation: '您是做什么工作的，或者以前做过什么工作？',
  },
  iAm: (self, name) =>
    name === undefined
      ? `您好，我是${self}，很高兴能陪您聊聊。`
      : `${name}，您好，我是${self}，很高兴能陪您聊聊。`,
  aboutWork: (occupation) => [
    `您说过您的工作是${occupation}，当初是怎么走上这条路的？`,
    `关于${occupation}这份工作，您印象最深的是哪一天？`,
  ],
  aboutHome: (place) => [
    `您是在${place}长大的，小时候早上一出门，能看到些什么？`,
    `一想到${place}，您最先想起的是谁？`,
  ],
  aboutMoving: (from, to) => [`您出生在${from}，在${to}长大，还记得当时搬家的情形吗？`],
  aboutYouth: (decade) => [
    `${decade}年代，您正年轻，那时候开心的一天是怎么过的？`,
    `${decade}年代的哪一首歌、哪一部电影，一下子就能把您带回从前？`,
  ],
  aboutAnything: [
    '您的人生里，有没有哪个时刻是您常常想起的？',
    '对您影响最大的人是谁？我很想听听他的故事。',
    '最近有什么事让您开心吗？',
  ],
  listening: [
    '我在听，您慢慢说。',
    '嗯，您接着说。',
    '我在呢，不着急。',
    '嗯嗯，后来呢？',
    '我听着呢，请继续。',
  ],
};

export const phrases: Readonly<Record<Language, Phrases>> = { en, zh };
