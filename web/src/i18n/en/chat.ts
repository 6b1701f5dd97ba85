export const chat = {
  title: 'Talk',
};
