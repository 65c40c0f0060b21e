import { defineConfig } from "vite";

// names without hashes: the built page is part of the package and compared file by file
export default defineConfig({
  base: "./",
  publicDir: false,
  build: {
    target: "es2020",
    outDir: process.env.PLAYGROUND_OUT ?? "dist",
    emptyOutDir: true,
    modulePreload: false,
    rollupOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
  worker: {
    format: "es",
    rollupOptions: { output: { entryFileNames: "worker.js" } },
  },
});
