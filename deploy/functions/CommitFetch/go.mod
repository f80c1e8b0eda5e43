module commitfetch

go 1.26
