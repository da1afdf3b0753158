document.getElementById("page").textContent = JSON.parse(document.getElementById("run").textContent).run.name;
