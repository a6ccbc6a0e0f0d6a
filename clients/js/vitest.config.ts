import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@hubbub\/client$/, replacement: `${import.meta.dirname}/src/index.ts` },
      { find: /^@hubbub\/client\/react$/, replacement: `${import.meta.dirname}/src/react/index.ts` },
    ],
  },
});
