export const account = {
  login: 'Log in',
  register: 'New account',
  logout: 'Log out',
  which: 'Log in or make an account',
  loggedInAs: (name: string) => `Logged in as ${name}`,
  name: 'Name',
  nameHint: 'At least 3 letters or digits.',
  password: 'Password',
  passwordHint: 'At least 8 characters.',
};
